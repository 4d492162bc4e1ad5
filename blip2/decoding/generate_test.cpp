#include "blip2/decoding/generate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "blip2/base/error.h"
#include "blip2/decoding/processors_internal.h"

namespace blip2 {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// A chain of tokens: the next token's probabilities depend on the last one only.
class Chain {
 public:
  explicit Chain(std::vector<std::vector<double>> probabilities)
      : table_(std::move(probabilities)) {}

  StepFunction step() {
    return {static_cast<std::int64_t>(table_.size()),
            [this](std::span<const std::int32_t> tokens) {
              rows_.assign(tokens.begin(), tokens.end());
              return logits();
            },
            [this](std::span<const std::int32_t> sources) {
              std::vector<std::int32_t> next;
              for (const std::int32_t s : sources) next.push_back(rows_.at(static_cast<size_t>(s)));
              rows_ = next;
            }};
  }
  std::span<const float> start(std::vector<std::int32_t> rows) {
    rows_ = std::move(rows);
    return logits();
  }

 private:
  std::span<const float> logits() {
    logits_.clear();
    for (const std::int32_t token : rows_) {
      for (const double p : table_.at(static_cast<std::size_t>(token))) {
        logits_.push_back(static_cast<float>(std::log(p)));
      }
    }
    return logits_;
  }
  std::vector<std::vector<double>> table_;
  std::vector<std::int32_t> rows_;
  std::vector<float> logits_;
};

// 0 leads to 1 (0.5) or 2 (0.4); 1 is unsure of what follows, 2 ends (token 3) surely.
Chain garden_path() {
  return Chain({{0.05, 0.5, 0.4, 0.05},
                {0.25, 0.2, 0.2, 0.35},
                {0.02, 0.02, 0.02, 0.94},
                {0.25, 0.25, 0.25, 0.25}});
}

GenerationOptions three_tokens() {
  GenerationOptions options;
  options.max_new_tokens = 3;
  options.eos_token_ids = {3};
  return options;
}

TEST(Generate, GreedyTakesTheMostProbableToken) {
  Chain chain = garden_path();
  const auto logits = chain.start({0, 2});
  const auto answers = generate(chain.step(), logits, three_tokens());
  ASSERT_EQ(answers.size(), 2u);
  EXPECT_THAT(answers[0][0].tokens, ElementsAre(1, 3));
  EXPECT_NEAR(answers[0][0].score, std::log(0.5 * 0.35) / 2, 1e-5);
  EXPECT_THAT(answers[1][0].tokens, ElementsAre(3));
  EXPECT_NEAR(answers[1][0].score, std::log(0.94), 1e-5);
}

TEST(Generate, BeamSearchFindsTheMoreProbableSequence) {
  Chain chain = garden_path();
  GenerationOptions options = three_tokens();
  options.beams = 2;
  options.return_sequences = 2;
  options.length_penalty = 0.0;
  const auto answers = generate(chain.step(), chain.start({0}), options);
  ASSERT_EQ(answers[0].size(), 2u);
  EXPECT_THAT(answers[0][0].tokens, ElementsAre(2, 3));
  EXPECT_NEAR(answers[0][0].score, std::log(0.4 * 0.94), 1e-5);
  EXPECT_THAT(answers[0][1].tokens, ElementsAre(1, 3));
  EXPECT_NEAR(answers[0][1].score, std::log(0.5 * 0.35), 1e-5);
}

TEST(Generate, NoEndBeforeTheMinimum) {
  Chain chain = garden_path();
  GenerationOptions options = three_tokens();
  options.min_new_tokens = 2;
  const auto answers = generate(chain.step(), chain.start({2}), options);
  EXPECT_GE(answers[0][0].tokens.size(), 2u);
}

TEST(Generate, NoTokenTwiceIfUnigramsMayNotRepeat) {
  Chain chain({{0.9, 0.05, 0.03, 0.02}, {0.9, 0.05, 0.03, 0.02}, {0.9, 0.05, 0.03, 0.02}, {}});
  GenerationOptions options = three_tokens();
  options.no_repeat_ngram_size = 1;
  const auto answers = generate(chain.step(), chain.start({0}), options);
  EXPECT_THAT(answers[0][0].tokens, ElementsAre(0, 1, 2));
}

TEST(Generate, SeveralBeamsAreDrawnByTheSeedAlone) {
  Chain chain = garden_path();
  GenerationOptions options = three_tokens();
  options.sample = true;
  options.beams = 2;
  int differing = 0;
  for (options.seed = 0; options.seed < 20; ++options.seed) {
    const auto together = generate(chain.step(), chain.start({1, 0}), options);
    const auto alone = generate(chain.step(), chain.start({0}), options);
    EXPECT_EQ(together[1][0].tokens, alone[0][0].tokens);
    differing += alone[0][0].tokens != std::vector<std::int32_t>({1, 3});
  }
  EXPECT_GT(differing, 2);
}

TEST(Generate, PromptsMayHaveSeedsOfTheirOwn) {
  Chain chain = garden_path();
  GenerationOptions options = three_tokens();
  options.sample = true;
  options.top_k = 0;
  for (const std::int64_t beams : {1, 2}) {
    options.beams = beams;
    options.return_sequences = beams == 1 ? 20 : 2;
    options.prompt_seeds = {7, 8};
    const auto together = generate(chain.step(), chain.start({0, 0}), options);
    options.prompt_seeds.clear();
    for (const std::size_t p : {0, 1}) {
      options.seed = 7 + p;
      const auto alone = generate(chain.step(), chain.start({0}), options);
      for (std::size_t i = 0; i < alone[0].size(); ++i) {
        EXPECT_EQ(together[p][i].tokens, alone[0][i].tokens) << beams << " beams";
      }
    }
  }
  options.prompt_seeds = {7};
  EXPECT_THROW(generate(chain.step(), chain.start({0, 0}), options), Error);
}

TEST(Generate, SamplesDependOnTheSeedAlone) {
  Chain chain = garden_path();
  GenerationOptions options = three_tokens();
  options.sample = true;
  options.top_k = 0;
  options.return_sequences = 200;
  const auto together = generate(chain.step(), chain.start({1, 0}), options);
  const auto alone = generate(chain.step(), chain.start({0}), options);
  int ones = 0;
  for (std::size_t i = 0; i < 200; ++i) {
    EXPECT_EQ(together[1][i].tokens, alone[0][i].tokens);
    ones += alone[0][i].tokens[0] == 1;
  }
  EXPECT_NEAR(ones, 100, 25);
}

TEST(Generate, PenaltiesCountWhatWasWritten) {
  Chain chain({{0.4, 0.3, 0.2, 0.1}, {0.4, 0.3, 0.2, 0.1}, {0.4, 0.3, 0.2, 0.1}, {}});
  GenerationOptions options = three_tokens();
  options.presence_penalty = 0.5;  // 0.4 / e^0.5 is less than 0.3, 0.3 / e^0.5 than 0.2427
  const auto present = generate(chain.step(), chain.start({0}), options, {{{1, 1, 1}}});
  EXPECT_THAT(present[0][0].tokens, ElementsAre(0, 1, 0));  // the prompt's tokens do not count
  options.presence_penalty = 0;
  options.frequency_penalty = 0.2;  // 0.4 / e^(2 * 0.2) is less than 0.3
  const auto frequent = generate(chain.step(), chain.start({0}), options);
  EXPECT_THAT(frequent[0][0].tokens, ElementsAre(0, 0, 1));
  EXPECT_NEAR(frequent[0][0].score, std::log(0.4 * 0.4 * 0.3) / 3, 1e-5);  // without penalties
}

TEST(Generate, StopsAndSaysWhy) {
  Chain chain = garden_path();
  GenerationOptions options = three_tokens();
  for (options.beams = 1; options.beams < 3; ++options.beams) {
    const StopCheck stops = [](std::span<const std::int32_t> tokens) { return tokens.back() == 1; };
    const auto stopped = generate(chain.step(), chain.start({0}), options, {}, stops);
    if (options.beams == 1) {
      EXPECT_THAT(stopped[0][0].tokens, ElementsAre(1));
    }
    EXPECT_FALSE(stopped[0][0].cut);
    const auto last = stopped[0][0].tokens.back();
    EXPECT_TRUE(last == 1 || last == 3);
  }
  options.beams = 1;
  EXPECT_FALSE(generate(chain.step(), chain.start({0}), options)[0][0].cut);  // 1, end
  options.max_new_tokens = 1;
  EXPECT_TRUE(generate(chain.step(), chain.start({0}), options)[0][0].cut);
}

TEST(Generate, GivesLogProbabilities) {
  Chain chain = garden_path();
  GenerationOptions options = three_tokens();
  options.log_probabilities = true;
  options.top_log_probabilities = 2;
  for (options.beams = 1; options.beams < 3; ++options.beams) {
    options.length_penalty = 0;
    const Generated best = generate(chain.step(), chain.start({0}), options)[0][0];
    ASSERT_EQ(best.chosen.size(), best.tokens.size());
    double sum = 0;
    for (std::size_t i = 0; i < best.tokens.size(); ++i) {
      EXPECT_EQ(best.chosen[i].token, best.tokens[i]);
      sum += best.chosen[i].log_probability;
    }
    EXPECT_NEAR(sum, best.score, 1e-5);
    ASSERT_EQ(best.chosen[0].top.size(), 2u);
    EXPECT_EQ(best.chosen[0].top[0].token, 1);
    EXPECT_NEAR(best.chosen[0].top[0].log_probability, std::log(0.5), 1e-5);
    EXPECT_EQ(best.chosen[0].top[1].token, 2);
  }
}

TEST(Generate, RefusesOptionsOutOfRange) {
  Chain chain = garden_path();
  const auto message = [&](auto change) {
    GenerationOptions options = three_tokens();
    change(options);
    try {
      generate(chain.step(), chain.start({0}), options);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_THAT(message([](auto& o) { o.beams = 0; }), HasSubstr("beams"));
  EXPECT_THAT(message([](auto& o) { o.temperature = 0; }), HasSubstr("temperature"));
  EXPECT_THAT(message([](auto& o) { o.top_p = 1.5; }), HasSubstr("top_p"));
  EXPECT_THAT(message([](auto& o) { o.early_stopping = "soon"; }), HasSubstr("early_stopping"));
  EXPECT_THAT(message([](auto& o) { o.no_repeat_ngram_size = -1; }), HasSubstr("ngram"));
  EXPECT_THAT(message([](auto& o) { o.return_sequences = 2; }), HasSubstr("return_sequences"));
  EXPECT_THAT(message([](auto& o) { o.eos_token_ids = {4}; }), HasSubstr("end token 4"));
  EXPECT_THAT(message([](auto& o) { o.beams = 3; }), HasSubstr("vocabulary"));
  EXPECT_THAT(message([](auto& o) { o.min_new_tokens = 9; }), HasSubstr("min_new_tokens"));
  EXPECT_THAT(message([](auto& o) { o.presence_penalty = NAN; }), HasSubstr("presence_penalty"));
  EXPECT_THAT(message([](auto& o) { o.stop_strings = {"a", ""}; }), HasSubstr("stop_strings"));
  EXPECT_THAT(message([](auto& o) { o.top_log_probabilities = 21; }), HasSubstr("0 to 20"));
}

}  // namespace
}  // namespace blip2
