#include "blip2/serving/text_stream_internal.h"

#include <gtest/gtest.h>

#include "blip2/base/random.h"
#include "blip2/io/utf8.h"
#include "blip2/model/written_text.h"
#include "blip2/serving/test_model.h"

namespace blip2 {
namespace {

using Ids = std::vector<std::int32_t>;

class TextStreamTest : public ::testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(folder_); }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::unique_ptr<Tokenizer> tokenizer(const std::string& json) {
    write_file(folder_ / "tokenizer.json", json);
    return load_tokenizer(folder_);
  }
  // The pieces after each token; the last one is the rest.
  std::vector<std::string> pieces(const Tokenizer& tokenizer, const Ids& ids,
                                  const std::vector<std::string>& stops = {}) {
    TextStream stream(tokenizer, stops);
    std::vector<std::string> all;
    for (std::size_t i = 1; i < ids.size(); ++i)
      all.push_back(stream.more(std::span(ids).first(i)));
    all.push_back(stream.rest(written_text(tokenizer, ids, stops)));
    return all;
  }
  std::filesystem::path folder_ =
      std::filesystem::path(::testing::TempDir()) / ("stream_" + std::to_string(::getpid()));
};

Ids bytes_of(const std::string& text) {
  Ids ids;
  for (const char c : text) ids.push_back(static_cast<unsigned char>(c));
  return ids;
}

TEST_F(TextStreamTest, HoldsBackWhatMayChange) {
  const auto bytes = tokenizer(byte_tokenizer());
  using Pieces = std::vector<std::string>;
  EXPECT_EQ(pieces(*bytes, bytes_of(" a b ")), (Pieces{"", "a", "", " b", ""}));
  EXPECT_EQ(pieces(*bytes, bytes_of("é!")), (Pieces{"", "é", "!"}));
  EXPECT_EQ(pieces(*bytes, bytes_of("a\xc3!")), (Pieces{"a", "", "\ufffd!"}));
  EXPECT_EQ(pieces(*bytes, bytes_of("xENx END"), {"END"}),
            (Pieces{"x", "", "", "ENx", "", "", "", ""}));
  EXPECT_EQ(pieces(*bytes, bytes_of("ab ab c"), {"ab c"}), (Pieces{"", "", "", "ab", "", "", ""}));
}

TEST_F(TextStreamTest, WaitsForRunsOfBytes) {
  const auto spm = tokenizer(
      R"({"added_tokens":[],"normalizer":null,"pre_tokenizer":null,"post_processor":null,)"
      R"("decoder":{"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"▁"},)"
      R"("content":" "},{"type":"ByteFallback"},{"type":"Fuse"}]},"model":{"type":"BPE",)"
      R"("byte_fallback":true,"unk_token":"a","vocab":{"a":0,"<0xC3>":1,"<0xA9>":2,"▁b":3},)"
      R"("merges":[]}})");
  using Pieces = std::vector<std::string>;
  EXPECT_EQ(pieces(*spm, {0, 1, 2, 3}), (Pieces{"a", "", "", "é b"}));
  EXPECT_EQ(pieces(*spm, {0, 1, 2, 1, 3}), (Pieces{"a", "", "", "", "\ufffd\ufffd\ufffd b"}));
  EXPECT_EQ(spm->bytes(1), "\xc3");
  EXPECT_EQ(spm->bytes(3), " b");
}

// Random bytes and stop strings: every piece is UTF-8, and together they are the whole text.
TEST_F(TextStreamTest, PiecesAreTheTextWhateverTheTokens) {
  const auto bytes = tokenizer(byte_tokenizer());
  const std::string alphabet = "ab \n\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80";
  Random random(5);
  const auto draw = [&](std::size_t most) {
    return static_cast<std::size_t>(random.uniform() * static_cast<double>(most));
  };
  std::size_t streamed = 0;
  for (int round = 0; round < 3000; ++round) {
    const std::vector<std::string> stops =
        round % 3 == 0 ? std::vector<std::string>{} : std::vector<std::string>{"ab a", "é"};
    Ids ids;
    do {
      ids.push_back(draw(20) == 0 ? kTestEnd
                                  : static_cast<unsigned char>(alphabet[draw(alphabet.size())]));
    } while (ids.size() < 30 && first_stop(bytes->decode(ids), stops) == std::string::npos);
    std::string all;
    const auto each = pieces(*bytes, ids, stops);
    for (const std::string& piece : each) {
      EXPECT_TRUE(is_utf8(piece));
      all += piece;
    }
    EXPECT_EQ(all, written_text(*bytes, ids, stops));
    streamed += all.size() - each.back().size();
  }
  EXPECT_GT(streamed, 3000u);
}

}  // namespace
}  // namespace blip2
