#include "blip2/model/generation_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "blip2/base/error.h"
#include "blip2/base/file.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

// A model directory with a configuration and the generation_config.json it is given.
class GenerationConfigTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(::testing::TempDir()) / ("generation_config_" + std::to_string(::getpid()));
    fs::create_directories(folder_);
    write_file(folder_ / "config.json", write_blip2_config({}).dump());
  }
  void TearDown() override { fs::remove_all(folder_); }

  void write(const std::string& text) { write_file(folder_ / kGenerationConfig, text); }

  // What the file makes of a verb's defaults when `chosen` was given by hand.
  GenerationOptions apply(std::string_view chosen = "") {
    GenerationOptions options;
    options.beams = 5;
    options.min_new_tokens = 8;
    apply_generation_config(
        folder_, [&](std::string_view key) { return key == chosen; }, options);
    return options;
  }

  std::string failure() {
    try {
      apply();
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  }

  // What is written to standard error meanwhile.
  std::string warning() {
    ::testing::internal::CaptureStderr();
    apply();
    return ::testing::internal::GetCapturedStderr();
  }

  fs::path folder_;
};

TEST_F(GenerationConfigTest, BeatsDefaultsAndYieldsToWhatWasChosen) {
  EXPECT_EQ(apply().beams, 5) << "without a file";
  write(R"({"num_beams": 3, "do_sample": true, "early_stopping": true, "temperature": null,
            "no_repeat_ngram_size": 2, "length_penalty": -1, "num_return_sequences": 2})");
  const GenerationOptions options = apply();
  EXPECT_EQ(options.beams, 3);
  EXPECT_EQ(options.min_new_tokens, 8) << "the file does not say";
  EXPECT_TRUE(options.sample);
  EXPECT_EQ(options.early_stopping, "true");
  EXPECT_EQ(options.temperature, 1.0);
  EXPECT_EQ(options.no_repeat_ngram_size, 2);
  EXPECT_EQ(options.length_penalty, -1.0);
  EXPECT_EQ(options.return_sequences, 2);
  EXPECT_EQ(apply("beams").beams, 5);
  EXPECT_EQ(apply("beams").no_repeat_ngram_size, 2);
}

TEST_F(GenerationConfigTest, WarnsOfWhatIsNotFollowed) {
  write(R"({"num_beam_groups": 1, "typical_p": 1.0, "max_length": 20, "penalty_alpha": null,
            "bad_words_ids": [], "use_cache": false, "transformers_version": "5.23.0",
            "pad_token_id": 0, "top_p": 1.0})");
  EXPECT_EQ(warning(), "");
  write(R"({"penalty_alpha": 0.6, "num_beam_groups": 4, "no_repeat_ngram_sise": 3})");
  const std::string text = warning();
  for (const char* part : {"generation_config.json", "penalty_alpha = 0.6", "num_beam_groups = 4",
                           "(did you mean no_repeat_ngram_size?)"}) {
    EXPECT_THAT(text, HasSubstr(part));
  }
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1);
}

TEST_F(GenerationConfigTest, NamesTheKeyOfABadValue) {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"num_beams": "3"})", "num_beams: expected a whole number, got \"3\""},
      {R"({"num_beams": 0})", "num_beams"},
      {R"({"top_p": 1.5})", "top_p"},
      {R"({"early_stopping": "soon"})", "early_stopping"},
      {R"({"do_sample": 1})", "do_sample: expected true or false, got 1"},
      {R"({"max_new_tokens": 1.5})", "max_new_tokens"},
      {R"([1])", "expected a table of keys"},
      {R"({"top_p": )", "at byte 11"},
  };
  for (const auto& [text, message] : cases) {
    write(text);
    EXPECT_THAT(failure(), HasSubstr(message)) << text;
    EXPECT_THAT(failure(), HasSubstr(kGenerationConfig)) << text;
  }
}

}  // namespace
}  // namespace blip2
