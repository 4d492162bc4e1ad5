#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <span>

#include "blip2/base/error.h"
#include "blip2/base/file.h"
#include "blip2/base/message_of.h"
#include "blip2/text/charsmap.h"
#include "blip2/text/decoder.h"
#include "blip2/text/sentencepiece_internal.h"
#include "blip2/text/split.h"
#include "blip2/text/tokenizer.h"
#include "blip2/text/unicode.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Ids = std::vector<std::int32_t>;

std::unique_ptr<Tokenizer> load(const std::string& name, const std::string& text) {
  const fs::path folder = fs::path(::testing::TempDir()) / ("sp_" + std::to_string(::getpid()));
  fs::create_directories(folder);
  write_file(folder / name, text);
  struct Cleaner {
    fs::path folder;
    ~Cleaner() { fs::remove_all(folder); }
  } cleaner{folder};
  return load_tokenizer(folder);
}

// A map from "a" to `replacement`: the root's base is 256, the leaf's 512.
std::string tiny_charsmap(const std::string& replacement, std::uint32_t value = 0) {
  std::vector<std::uint32_t> units(768, 0);
  const std::uint32_t child = 256 ^ 'a';
  units[0] = 256u << 10;
  units[child] = (child ^ 512u) << 10 | 1u << 8 | 'a';
  units[512] = value | 1u << 31;
  std::string blob(4 + units.size() * 4, '\0');
  const auto bytes = static_cast<std::uint32_t>(units.size() * 4);
  std::memcpy(blob.data(), &bytes, 4);
  std::memcpy(blob.data() + 4, units.data(), bytes);
  return blob + replacement + '\0';
}

TEST(Charsmap, ReplacesWholeShortClusters) {
  const Charsmap map(tiny_charsmap("xy"), "test");
  EXPECT_EQ(map.normalize("bab"), "bxyb");
  EXPECT_EQ(map.normalize("a\u0301b"), "xyb") << "the mark goes with its letter";
  EXPECT_EQ(map.normalize("a\u0301\u0301\u0301"), "xy\u0301\u0301\u0301") << "seven bytes";
  EXPECT_EQ(Charsmap(tiny_charsmap(""), "test").normalize("bab"), "bb");
}

TEST(Charsmap, RefusesWhatLeadsOutOfBounds) {
  const std::string good = tiny_charsmap("xy");
  const auto failure = [](const std::string& blob) {
    return message_of([&] { Charsmap(blob, "f"); });
  };
  EXPECT_THAT(failure(""), HasSubstr("expected a trie within 0 bytes"));
  EXPECT_THAT(failure(good.substr(0, 100)), HasSubstr("expected a trie within 100 bytes"));
  EXPECT_THAT(failure(tiny_charsmap("\xff")), HasSubstr("not UTF-8"));
  EXPECT_THAT(failure(tiny_charsmap("é", 1)), HasSubstr("out of the replacements"));
  EXPECT_THAT(failure(tiny_charsmap("", 99)), HasSubstr("out of the replacements"));
  std::string far = good;
  far[4 + 2] = '\x7f';  // the root's base
  EXPECT_THAT(failure(far), HasSubstr("out of the trie"));
  std::string cycle = good;  // the child leads back to the root's children
  const std::uint32_t child = 256 ^ 'a', unit = (child ^ 256u) << 10 | 'a';
  std::memcpy(cycle.data() + 4 + child * 4, &unit, 4);
  EXPECT_EQ(Charsmap(cycle, "f").normalize("aaa"), "aaa");
}

TEST(Compose, MakesNfc) {
  EXPECT_EQ(compose("e\u0301"), "é");
  EXPECT_EQ(compose("a\u0301\u0323"), "\u1ea1\u0301") << "the lower mark comes first";
  EXPECT_EQ(compose("\u1100\u1161\u11a8"), "각");
  EXPECT_EQ(compose("\u0958"), "\u0915\u093c") << "excluded from composition";
}

TEST(Split, FollowsQwen2sAndLlama3sPatterns) {
  const auto words = [](std::string_view text, SplitPattern pattern) {
    std::vector<std::string> out;
    while (!text.empty()) {
      out.emplace_back(text.substr(0, first_split(text, pattern)));
      text.remove_prefix(out.back().size());
    }
    return out;
  };
  EXPECT_THAT(words("I'LL go! \n\n x 1234", SplitPattern::qwen2),
              ElementsAre("I", "'LL", " go", "!", " \n\n", " x", " ", "1", "2", "3", "4"));
  EXPECT_THAT(words("1234!\r\n(a", SplitPattern::llama3), ElementsAre("123", "4", "!\r\n", "(a"));
  EXPECT_THAT(words("a'ſb", SplitPattern::llama3), ElementsAre("a", "'ſ", "b"));
}

TEST(Decoder, FollowsLlamasSteps) {
  using Kind = DecoderStep::Kind;
  const std::vector<DecoderStep> steps{
      {Kind::replace, "▁", " "}, {Kind::byte_fallback}, {Kind::fuse}, {Kind::strip, "", " ", 1}};
  EXPECT_EQ(decode_steps(steps, {"▁a", "<0xC3>", "<0xA9>", "▁▁b"}), "aé  b");
  EXPECT_EQ(decode_steps(steps, {"<0xC3>", "x", "<0xZZ>"}), "\ufffdx<0xZZ>");
  const std::vector<DecoderStep> spaces{{Kind::metaspace, "▁", " "}};
  EXPECT_EQ(decode_steps(spaces, {"▁▁a", "▁b"}), "a b");
}

// tokenizer.json of a unigram model with T5's parts.
std::string unigram_json(const std::string& vocab, const std::string& unknown = "0",
                         const std::string& normalizer = "null") {
  return R"({"added_tokens":[{"id":1,"content":"</s>","special":true}],"normalizer":)" +
         normalizer +
         R"(,"pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"WhitespaceSplit"},)"
         R"({"type":"Metaspace","replacement":"▁","prepend_scheme":"always"}]},)"
         R"("post_processor":{"type":"TemplateProcessing","single":[{"Sequence":{"id":"A"}},)"
         R"({"SpecialToken":{"id":"</s>"}}],"special_tokens":{"</s>":{"ids":[1]}}},)"
         R"("decoder":{"type":"Metaspace"},"model":{"type":"Unigram","unk_id":)" +
         unknown + R"(,"vocab":)" + vocab + "}}";
}

constexpr const char* kVocab =
    R"([["<unk>",0],["</s>",0],["▁",-3],["a",-2],["b",-2.5],["ab",-4],["▁ab",-8],["▁a",-4]])";

TEST(Unigram, TakesTheMostLikelySegmentation) {
  const auto tokenizer = load("tokenizer.json", unigram_json(kVocab));
  // ▁a b: -6.5; ▁ ab: -7; ▁ a b: -7.5; ▁ab: -8.
  EXPECT_THAT(tokenizer->encode("ab </s>\tb"), ElementsAre(7, 4, 1, 2, 4, 1));
  EXPECT_THAT(tokenizer->encode("xyzb", false), ElementsAre(2, 0, 4)) << "unknown ones fuse";
  EXPECT_THAT(tokenizer->encode("ab </s>", true, kWholeText), ElementsAre(7, 4, 2, 0, 1))
      << "the model has the end token, text does not reach it";
  EXPECT_EQ(tokenizer->decode(Ids{7, 4, 1, 2, 4}), "ab b");
}

TEST(Unigram, RefusesBrokenFiles) {
  const auto failure = [](const std::string& text) {
    return message_of([&] { load("tokenizer.json", text); });
  };
  EXPECT_THAT(failure(unigram_json(R"([["a","x"],["b",0]])")), HasSubstr("model.vocab[0]"));
  EXPECT_THAT(failure(unigram_json(R"([["a"]])")), HasSubstr("expected [token, score]"));
  EXPECT_THAT(failure(unigram_json(R"({"a":1})")),
              HasSubstr("vocab: expected a list, got {\"a\":1}"));
  EXPECT_THAT(failure(unigram_json("[]")), HasSubstr("vocabulary is empty"));
  EXPECT_THAT(failure(unigram_json(kVocab, "8")), HasSubstr("unk_id is 8"));
  EXPECT_THAT(failure(unigram_json(R"([["a",0],["a",1]])")), HasSubstr("has two ids"));
  EXPECT_THAT(failure(unigram_json(kVocab, "0", R"({"type":"Precompiled"})")),
              HasSubstr("precompiled_charsmap"));
  EXPECT_THAT(
      failure(unigram_json(kVocab, "0", R"({"type":"Precompiled","precompiled_charsmap":"AAAA"})")),
      HasSubstr("expected a trie"));
  const auto tokenizer = load("tokenizer.json", unigram_json(kVocab, "null"));
  EXPECT_THAT(message_of([&] { tokenizer->encode("x"); }), HasSubstr("no unknown token"));
}

// A protocol buffer's field with a short payload.
std::string field(int number, const std::string& bytes) {
  return std::string{static_cast<char>(number << 3 | 2), static_cast<char>(bytes.size())} + bytes;
}

std::string piece(const std::string& text, float score, char type) {
  std::string bits(4, '\0');
  std::memcpy(bits.data(), &score, 4);
  return field(1, field(1, text) + std::string{2 << 3 | 5} + bits + std::string{3 << 3, type});
}

std::string trainer(char kind) {
  return field(2, std::string{3 << 3, kind});
}

TEST(SentencePiece, ReadsUnigramModelsAsT5) {
  const std::string model = piece("<unk>", 0, 2) + piece("</s>", 0, 3) + piece("▁", -3, 1) +
                            piece("a", -2, 1) + trainer(1);
  const auto tokenizer = load("spiece.model", model);
  EXPECT_EQ(tokenizer->size(), 105) << "a hundred sentinels and <pad>";
  EXPECT_EQ(tokenizer->piece(4), "<extra_id_99>");
  EXPECT_THAT(tokenizer->encode("a<extra_id_99>a"), ElementsAre(2, 3, 4, 2, 3, 1));
  EXPECT_EQ(tokenizer->special().eos, 1);
}

TEST(SentencePiece, ReadsByteModelsAsLlama) {
  const std::string model = piece("<unk>", 0, 2) + piece("<s>", 0, 3) + piece("</s>", 0, 3) +
                            piece("<0xC3>", 0, 6) + piece("<0xA9>", 0, 6) + piece("▁a", -1, 1) +
                            piece("ab", -2, 1) + piece("▁", -3, 1) + piece("a", -4, 1) +
                            piece("b", -5, 1) + trainer(2);
  const auto tokenizer = load("tokenizer.model", model);
  EXPECT_THAT(tokenizer->encode("abé"), ElementsAre(5, 9, 3, 4)) << "▁a comes before ab";
  EXPECT_THAT(tokenizer->encode("</s>ab"), ElementsAre(2, 6)) << "no space but at the start";
  EXPECT_EQ(tokenizer->decode(Ids{5, 9, 3, 4}), "abé");
  EXPECT_THAT(tokenizer->encode("a</s>b", true, kWholeText), ElementsAre(5, 9))
      << "plain text; LlamaTokenizer's model has no unknown token, these bytes no pieces";
}

TEST(SentencePiece, RefusesBrokenFiles) {
  const auto failure = [](const std::string& text) {
    return message_of([&] { load("spiece.model", text); });
  };
  const std::string good = piece("<unk>", 0, 2) + piece("</s>", 0, 3) + trainer(1);
  for (std::size_t length = 0; length < good.size(); ++length) {
    EXPECT_NE(failure(good.substr(0, length)), "") << length;
  }
  EXPECT_THAT(failure(good.substr(0, 5)), HasSubstr("at byte"));
  EXPECT_THAT(failure(""), HasSubstr("no pieces"));
  EXPECT_THAT(failure("hello"), HasSubstr("spiece.model"));
  EXPECT_THAT(failure(good + trainer(3)), HasSubstr("supported: 1 (unigram), 2 (BPE)"));
  EXPECT_THAT(failure(piece("a", NAN, 1)), HasSubstr("score is not a number"));
  EXPECT_THAT(failure(piece("\xff", 0, 1)), HasSubstr("not UTF-8"));
  EXPECT_THAT(failure(piece("a", 0, 9)), HasSubstr("type from 1 to 6"));
  EXPECT_THAT(failure(good + std::string(11, '\xff')), HasSubstr("at most 10 bytes"));
  const auto model = read_sentencepiece(std::as_bytes(std::span(good)), "m");
  EXPECT_THAT(message_of([&] {
                sentencepiece_tokenizer(model, {{"eos_token", nullptr}}, "m");
              }),
              HasSubstr("no eos_token"));
  EXPECT_THAT(message_of([&] {
                sentencepiece_tokenizer(model, {{"extra_ids", 1 << 20}}, "m");
              }),
              HasSubstr("extra_ids"));
}

}  // namespace
}  // namespace blip2
