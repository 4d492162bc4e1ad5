#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "blip2/base/error.h"
#include "blip2/base/file.h"
#include "blip2/text/merge_table_internal.h"
#include "blip2/text/prompt.h"
#include "blip2/text/tokenizer.h"
#include "blip2/text/unicode.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Ids = std::vector<std::int32_t>;

// A temporary folder for each test, with the files it is given.
class TokenizerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(::testing::TempDir()) /
              ("text_" + std::to_string(::getpid()) + "_" +
               ::testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  void write(const std::string& name, const std::string& text) { write_file(folder_ / name, text); }

  std::unique_ptr<Tokenizer> load() { return load_tokenizer(folder_); }

  // The message of the Error that loading gives.
  std::string failure() {
    try {
      load();
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  }

  fs::path folder_;
};

constexpr const char* kBert =
    "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\ncat\n##s\ncafe\n!\n中\nun\n##aff\n##able\n";

// tokenizer.json of a byte-level BPE: h e l o Ġ, merges he, ll, Ġh.
std::string byte_pair_json(const std::string& vocab_end = "", const std::string& merges = "",
                           const std::string& added = "[]") {
  return R"({"version":"1.0","added_tokens":)" + added +
         R"(,"normalizer":null,"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false},)"
         R"("post_processor":null,"decoder":{"type":"ByteLevel"},"model":{"type":"BPE",)"
         R"("vocab":{"h":0,"e":1,"l":2,"o":3,"Ġ":4,"he":5,"ll":6,"Ġh":7,"Ã":8,"©":9)" +
         vocab_end + R"(},"merges":["h e",["l","l"],"Ġ h")" + merges + "]}}";
}

std::string to_text(std::u32string_view text) {
  std::string out;
  for (const char32_t c : text) append_utf8(out, c);
  return out;
}

TEST(Utf8, ReplacesWhatIsNotUtf8AsPythonDoes) {
  EXPECT_EQ(to_valid_utf8("a\x80"
                          "b"),
            "a\ufffdb");
  EXPECT_EQ(to_valid_utf8("\xe4\xb8"), "\ufffd");                  // cut short: one
  EXPECT_EQ(to_valid_utf8("\xed\xa0\x80"), "\ufffd\ufffd\ufffd");  // a surrogate: three
  EXPECT_EQ(to_valid_utf8("\xc0\xaf"), "\ufffd\ufffd");            // overlong
  EXPECT_EQ(to_valid_utf8("\xf4\x90\x80\x80"), "\ufffd\ufffd\ufffd\ufffd");
  EXPECT_EQ(to_valid_utf8("\xf0\x9f\x98"
                          "a"),
            "\ufffd"
            "a");
  EXPECT_EQ(to_valid_utf8("é中😀"), "é中😀");
}

TEST(Unicode, DecomposesAndOrdersMarks) {
  EXPECT_EQ(to_text(decompose(U"é")), "e\u0301");
  EXPECT_EQ(to_text(decompose(U"a\u0301\u0323")), "a\u0323\u0301");
  EXPECT_EQ(to_text(decompose(U"한")), "\u1112\u1161\u11ab");
}

TEST(Unicode, LowersOneToTwo) {
  std::string text;
  append_lower(text, U'İ');
  append_lower(text, U'Σ');
  EXPECT_EQ(text, "i\u0307σ");
}

TEST(MergeTable, MergesLowestRankFirstAndLeftmost) {
  // 0 0 -> 10 before 0 1 -> 11: "0 0 0 1" is 10 11, not 10 0 1.
  const std::vector<PairMerge> merges{{0, 0, 10}, {0, 1, 11}, {10, 11, 12}};
  Ids symbols{0, 0, 0, 1};
  MergeTable(std::span(merges).first(2)).apply(symbols);
  EXPECT_THAT(symbols, ElementsAre(10, 11));
  MergeTable(merges).apply(symbols);
  EXPECT_THAT(symbols, ElementsAre(12));
  symbols.clear();
  MergeTable(merges).apply(symbols);
  EXPECT_TRUE(symbols.empty());
}

TEST(MergeTable, IsFastOnLongRuns) {
  const std::vector<PairMerge> merges{{0, 0, 1}, {1, 1, 2}, {2, 2, 3}};
  Ids symbols(1 << 17, 0);
  MergeTable(merges).apply(symbols);
  EXPECT_EQ(symbols, Ids(1 << 14, 3));
}

TEST_F(TokenizerTest, WordPieceByHand) {
  write("vocab.txt", kBert);
  const auto tokenizer = load();
  EXPECT_THAT(tokenizer->encode("Unaffable CATS! [MASK]Café中"),
              ElementsAre(2, 11, 12, 13, 6, 7, 9, 4, 8, 10, 3));
  EXPECT_THAT(tokenizer->encode("dog a", false), ElementsAre(1, 5));
  EXPECT_THAT(tokenizer->encode(std::string(101, 'a'), false), ElementsAre(1));
  EXPECT_THAT(tokenizer->encode("", true), ElementsAre(2, 3));
  EXPECT_EQ(tokenizer->decode(Ids{2, 11, 12, 13, 6, 7, 9, 4, 3}), "unaffable cats!");
  EXPECT_EQ(tokenizer->decode(Ids{2, 6, 3, 99, -1}, false), "[CLS] cat [SEP]");
  EXPECT_EQ(tokenizer->bytes(6), " cat");
  EXPECT_EQ(tokenizer->bytes(7), "s");
  EXPECT_EQ(tokenizer->special().cls, 2);
  EXPECT_EQ(tokenizer->special().bos, std::nullopt);
  EXPECT_EQ(tokenizer->piece(12), "##aff");
  EXPECT_THROW(tokenizer->piece(14), Error);
}

TEST_F(TokenizerTest, AddsDecAndSavesIt) {
  write("vocab.txt", kBert);
  const auto tokenizer = load();
  EXPECT_EQ(tokenizer->add_token("[DEC]"), 14);
  EXPECT_EQ(tokenizer->add_token("[DEC]"), 14);
  EXPECT_EQ(tokenizer->size(), 15);
  tokenizer->save(folder_ / "saved");
  const auto loaded = load_tokenizer(folder_ / "saved");
  EXPECT_EQ(loaded->special().dec, 14);
  EXPECT_EQ(loaded->special().bos, 14);
  EXPECT_THAT(loaded->encode("[DEC]a cats", true), ElementsAre(2, 14, 5, 6, 7, 3));
  EXPECT_EQ(loaded->decode(Ids{14, 5, 6}), "a cat");
}

TEST_F(TokenizerTest, BytePairByHand) {
  write("tokenizer.json", byte_pair_json());
  const auto tokenizer = load();
  EXPECT_THAT(tokenizer->encode("hello hé"), ElementsAre(5, 6, 3, 7, 8, 9));
  EXPECT_THAT(tokenizer->encode("hxe"), ElementsAre(5)) << "a byte without a token is dropped";
  EXPECT_EQ(tokenizer->decode(Ids{5, 6, 3, 7, 8, 9}), "hello hé");
  EXPECT_EQ(tokenizer->decode(Ids{8, 0, 9}), "\ufffdh\ufffd");
  EXPECT_THAT(tokenizer->encode("h\xff"), ElementsAre(0));
  EXPECT_EQ(tokenizer->bytes(8), "\xc3");
  EXPECT_EQ(tokenizer->bytes(7), " h");
  EXPECT_EQ(tokenizer->bytes(99), "");
}

TEST_F(TokenizerTest, BytePairFromVocabAndMergesAsOptHasIt) {
  write("vocab.json", R"({"<s>":0,"<pad>":1,"</s>":2,"a":3,"b":4,"Ġ":5,"Ġa":6})");
  write("merges.txt", "#version: 0.2\nĠ a\n");
  write("tokenizer_config.json",
        R"({"bos_token":"</s>","eos_token":"</s>","unk_token":"</s>","pad_token":"<pad>",
            "add_bos_token":true,"add_prefix_space":true})");
  const auto tokenizer = load();
  EXPECT_THAT(tokenizer->encode("ab</s>a"), ElementsAre(2, 6, 4, 2, 6));
  EXPECT_THAT(tokenizer->encode(" a", false), ElementsAre(6));
  EXPECT_EQ(tokenizer->special().pad, 1);
  tokenizer->save(folder_ / "saved");
  EXPECT_THAT(load_tokenizer(folder_ / "saved")->encode("ab</s>a"), ElementsAre(2, 6, 4, 2, 6));
}

// "l" and "o" inside a word and at its end, "lo" at the end alone: "lol" is l o l</w>.
TEST_F(TokenizerTest, BytePairFromVocabAndMergesAsClipHasIt) {
  write("vocab.json", R"({"l":0,"o":1,"a":2,"l</w>":3,"o</w>":4,"a</w>":5,"lo</w>":6,
                          "<|startoftext|>":7,"<|endoftext|>":8})");
  write("merges.txt", "#version: 0.2\nl o</w>\n");
  const auto tokenizer = load();
  EXPECT_THAT(tokenizer->encode("LO \n lol"), ElementsAre(7, 6, 0, 1, 3, 8));
  EXPECT_THAT(tokenizer->encode("a<|endoftext|>a"), ElementsAre(7, 5, 8, 5, 8));
  EXPECT_THAT(tokenizer->encode("x"), ElementsAre(7, 8, 8)) << "unknown bytes are the end token";
  EXPECT_EQ(tokenizer->decode(Ids{7, 6, 0, 1, 3, 8}), "lo lol");
  EXPECT_EQ(tokenizer->special().bos, 7);
  tokenizer->save(folder_ / "saved");
  EXPECT_THAT(load_tokenizer(folder_ / "saved")->encode("LO \n lol"),
              ElementsAre(7, 6, 0, 1, 3, 8));
}

TEST_F(TokenizerTest, AddedTokensTakeTheLongestAndTheirFlags) {
  write("tokenizer.json", byte_pair_json("", "", R"([
      {"id":10,"content":"<a>","special":true},
      {"id":11,"content":"<a>b","special":false,"normalized":false,"lstrip":true,"rstrip":true},
      {"id":12,"content":"hell","special":false,"normalized":false,"single_word":true}])"));
  const auto tokenizer = load();
  EXPECT_THAT(tokenizer->encode("h<a>h"), ElementsAre(0, 10, 0));
  EXPECT_THAT(tokenizer->encode("h  <a>b \n h"), ElementsAre(0, 11, 0));
  EXPECT_THAT(tokenizer->encode("hell"), ElementsAre(12));
  EXPECT_THAT(tokenizer->encode("hello"), ElementsAre(5, 6, 3));
  EXPECT_EQ(tokenizer->decode(Ids{10, 11, 5}), "<a>bhe");
}

TEST_F(TokenizerTest, SpecialTokensAreCharactersInPlainText) {
  write("tokenizer.json", byte_pair_json(R"(,"<":10,"a":11,">":12)", "", R"([
      {"id":13,"content":"<a>","special":true},
      {"id":14,"content":"ah","special":false,"normalized":false}])"));
  const auto tokenizer = load();
  EXPECT_THAT(tokenizer->encode("h<a>ah", false), ElementsAre(0, 13, 14));
  EXPECT_THAT(tokenizer->encode("h<a>ah", false, kWholeText), ElementsAre(0, 10, 11, 12, 14));
  const TextStretch first[] = {{1, 4}}, none[] = {{4, 6}};
  EXPECT_THAT(tokenizer->encode("h<a><a>", false, first), ElementsAre(0, 10, 11, 12, 13));
  EXPECT_THAT(tokenizer->encode("h<a>ah", false, none), ElementsAre(0, 13, 14));
}

TEST_F(TokenizerTest, PromptsKeepApartWhatWasTyped) {
  write("tokenizer.json", byte_pair_json(R"(,"<":10,"a":11,">":12)", "",
                                         R"([{"id":13,"content":"<a>","special":true}])"));
  const auto tokenizer = load();
  Prompt prompt = fill_template("<a>{}<a>", Prompt::plain("<a>"));
  EXPECT_EQ(prompt.text(), "<a><a><a>");
  EXPECT_THAT(prompt.encode(*tokenizer, false), ElementsAre(13, 10, 11, 12, 13));
  EXPECT_THAT(Prompt().add_own("\xff").add(prompt).encode(*tokenizer, false),
              ElementsAre(13, 10, 11, 12, 13))
      << "places count after what is not UTF-8 became U+FFFD";
  EXPECT_THAT(Prompt("<a>").encode(*tokenizer, false), ElementsAre(13));
  EXPECT_EQ(fill_template("{} {}", Prompt::plain("{}")).text(), "{} {}");
}

TEST_F(TokenizerTest, TurnsStandBetweenTheTokensOfTheChatTemplate) {
  write("tokenizer.json", byte_pair_json("", "", R"([
      {"id":10,"content":"<t>","special":true}, {"id":11,"content":"</t>","special":true},
      {"id":12,"content":"<|user|>","special":true}, {"id":13,"content":"<s>","special":true},
      {"id":14,"content":"<unused>","special":true}, {"id":15,"content":"<think>","special":false},
      {"id":16,"content":"<|im_start|>","special":true}])"));
  EXPECT_THAT(load()->turn_tokens(), ElementsAre(16)) << "known openers, without a template";
  write("tokenizer_config.json", R"({"bos_token": "<s>", "chat_template":
      "{{ bos_token }}{% for m in messages %}<t>{{ m.role }}<think>{{ m.text }}</t>{% endfor %}"})");
  EXPECT_THAT(load()->turn_tokens(), ElementsAre(10, 11, 12, 13));
}

TEST_F(TokenizerTest, ReadsTheChatTemplateOrSaysWhatIsWrong) {
  write("tokenizer.json", byte_pair_json());
  const auto config = [&](const std::string& value) {
    write("tokenizer_config.json", R"({"chat_template": )" + value + "}");
  };
  const auto of = [&] { return load()->chat_template(); };
  config(R"([{"name": "rag", "template": "r"}, {"name": "default", "template": "d"}])");
  EXPECT_EQ(of().text, "d");
  config(R"([{"name": "tool_use", "template": "t"}, {"name": "rag", "template": "r"}])");
  EXPECT_EQ(of().text, "");
  EXPECT_EQ(of().fault, "expected a template named default, got rag, tool_use");
  config("[]");
  EXPECT_EQ(of().fault, "expected a template named default, got none");
  config(R"("")");
  EXPECT_EQ(of().fault, "the chat template is empty");
  config("null");
  EXPECT_EQ(of().fault, "");
  for (const char* value : {"3", "true", R"({"default": "d"})"}) {
    config(value);
    EXPECT_THAT(failure(), HasSubstr("tokenizer_config.json: chat_template: expected a string or a "
                                     "list of named templates, got "));
  }
  config(R"([{"name": "default", "template": 3}])");
  EXPECT_THAT(failure(), HasSubstr("chat_template: template: expected a string, got 3"));
  write("chat_template.jinja", "j");  // which counts alone
  EXPECT_EQ(of().text, "j");
  EXPECT_THAT(of().where, HasSubstr("chat_template.jinja"));
  write("chat_template.jinja", "");
  EXPECT_EQ(of().fault, "the chat template is empty");
  write("chat_template.jinja", "a\xff");
  EXPECT_THAT(failure(), HasSubstr("chat_template.jinja: the chat template is not valid UTF-8"));
}

TEST_F(TokenizerTest, EncodesFromSeveralThreadsAlike) {
  write("tokenizer.json", byte_pair_json());
  const auto tokenizer = load();
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 200; ++i) {
        ASSERT_THAT(tokenizer->encode("hello hello"), ElementsAre(5, 6, 3, 4, 5, 6, 3));
      }
    });
  }
}

TEST_F(TokenizerTest, RefusesBrokenFiles) {
  EXPECT_THAT(failure(), HasSubstr("expected tokenizer.json, vocab.txt"));
  const std::pair<std::string, const char*> cases[] = {
      {"{", "tokenizer.json"},
      {"[]", "expected an object"},
      {"{}", "model: expected an object, got nothing"},
      {R"({"model":{"type":"BPE","vocab":{},"merges":[]}})", "vocabulary is empty"},
      {R"({"model":{"type":"BPE","vocab":[],"merges":[]}})", "vocab: expected an object, got []"},
      {R"({"model":{"type":"WordLevel","vocab":{"a":0}}})", "supported: WordPiece, BPE, Unigram"},
      {byte_pair_json(",\"x\":3"), "have the same id 3"},
      {byte_pair_json(",\"x\":-1"), "expected an id below"},
      {byte_pair_json(",\"x\":4000000000"), "expected an id below"},
      {byte_pair_json(",\"x\":\"7\""), "expected an id below"},
      {byte_pair_json(",\"h\":11"), "tokenizer.json"},
      {byte_pair_json("", ",\"h z\""), "\"z\", which is not in the vocabulary"},
      {byte_pair_json("", ",\"l o\""), "\"lo\", which is not in the vocabulary"},
      {byte_pair_json("", ",\"hello\""), "expected two tokens and a space"},
      {byte_pair_json("", ",\"h e l\""), "model.merges[3]"},
      {byte_pair_json("", ",[\"h\"]"), "expected \"a b\" or"},
      {byte_pair_json("", ",7"), "expected \"a b\" or"},
      {byte_pair_json("", "", R"([{"id":3,"content":"x"}])"), "says id 3"},
      {byte_pair_json("", "", R"([{"id":10,"content":""}])"), "added token is empty"},
      {byte_pair_json("", "", R"([{"id":10,"content":7}])"), "content: expected a string, got 7"},
      {byte_pair_json("", "", R"([{"id":0,"content":"h"},{"id":0,"content":"h"}])"), "twice"},
      {byte_pair_json("", "", "7"), "expected a list"},
  };
  for (const auto& [text, message] : cases) {
    write("tokenizer.json", text);
    EXPECT_THAT(failure(), HasSubstr(message)) << text;
    EXPECT_THAT(failure(), HasSubstr("tokenizer.json")) << text;
  }
}

TEST_F(TokenizerTest, RefusesWhatItDoesNotSupport) {
  const auto replaced = [](std::string text, const std::string& from, const std::string& to) {
    return text.replace(text.find(from), from.size(), to);
  };
  const std::string json = byte_pair_json();
  const std::pair<std::string, const char*> cases[] = {
      {replaced(json, R"("normalizer":null)", R"("normalizer":{"type":"NFD"})"), "NFD"},
      {replaced(json, R"({"type":"ByteLevel","add_prefix_space":false})", R"({"type":"Split"})"),
       "pre_tokenizer"},
      {replaced(json, R"({"type":"ByteLevel","add_prefix_space":false})", R"({"type":"Digits"})"),
       "pre_tokenizer"},
      {replaced(json, R"({"type":"ByteLevel","add_prefix_space":false})", "null"), "decoder"},
      {replaced(json, R"("post_processor":null)", R"("post_processor":{"type":"Odd"})"), "Odd"},
      {replaced(json, R"({"type":"ByteLevel"})", R"({"type":"CTC"})"), "decoder"},
      {replaced(json, R"("type":"BPE")", R"("type":"BPE","byte_fallback":true)"), "byte_fallback"},
      {replaced(json, R"("type":"BPE")", R"("type":"BPE","dropout":0.5)"), "dropout"},
      {replaced(json, R"("type":"BPE")",
                R"("type":"BPE","ignore_merges":true,"end_of_word_suffix":"</w>")"),
       "ignore_merges"},
      {replaced(json, R"("type":"BPE")", R"("type":"BPE","unk_token":"<u>")"), "<u>"},
      {replaced(json, R"("post_processor":null)",
                R"("post_processor":{"type":"BertProcessing","cls":["h",99],"sep":["e",1]})"),
       "token id below 10"}};
  for (const auto& [text, message] : cases) {
    write("tokenizer.json", text);
    EXPECT_THAT(failure(), HasSubstr(message)) << text;
  }
}

TEST_F(TokenizerTest, RefusesBrokenVocabularies) {
  write("vocab.txt", "");
  EXPECT_THAT(failure(), HasSubstr("vocabulary is empty"));
  write("vocab.txt", kBert);
  write("tokenizer_config.json", R"({"unk_token":7})");
  EXPECT_THAT(failure(), HasSubstr("unk_token"));
  write("tokenizer_config.json", "[1]");
  EXPECT_THAT(failure(), HasSubstr("expected an object"));
  fs::remove(folder_ / "vocab.txt");
  fs::remove(folder_ / "tokenizer_config.json");
  write("vocab.json", R"({"a":0})");
  write("merges.txt", "a b c\n");
  EXPECT_THAT(failure(), HasSubstr("merges.txt: line[0]"));
  EXPECT_THROW(load_tokenizer(folder_ / "none"), Error);
  write("x.gguf", "GGUF");
  EXPECT_THROW(load_tokenizer(folder_ / "x.gguf"), Error);
}

}  // namespace
}  // namespace blip2
