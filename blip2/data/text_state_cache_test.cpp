#include "blip2/data/text_state_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <thread>

#include "blip2/base/error.h"
#include "blip2/base/message_of.h"
#include "blip2/io/test_files.h"

namespace blip2 {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// The "model" has for each token its id, its square and the length of its text.
class TextStateCacheTest : public ::testing::Test {
 protected:
  static at::Tensor states_of(std::span<const TokenIds> texts) {
    std::vector<at::Tensor> parts;
    for (const TokenIds& text : texts) {
      const at::Tensor ids = at::tensor(text, at::kLong).to(at::kFloat);
      parts.push_back(at::stack({ids, ids * ids, at::full_like(ids, std::ssize(text))}, 1));
    }
    return at::cat(parts);
  }
  std::int64_t ensure(TextStateCache& cache, const std::vector<TokenIds>& texts) {
    EnsureOptions options;
    options.batch_size = 2;
    options.quiet = true;
    const auto open = [this]() -> TextReader {
      ++opened_;
      return [](std::span<const TokenIds> some) { return states_of(some); };
    };
    return cache.ensure(texts, open, options);
  }

  const testing::TemporaryFolder temporary_;
  const std::filesystem::path folder_ = temporary_.path();
  TextStateKey key_{"squares", 3, at::kFloat};
  int opened_ = 0;
};

TEST_F(TextStateCacheTest, ComputesOnceAndFindsAgain) {
  const std::vector<TokenIds> texts{{1, 2}, {}, {3}, {4, 5}, {1, 2}, {6, 7}, {8, 9, 10}};
  {
    TextStateCache cache(folder_, key_);
    EXPECT_EQ(ensure(cache, texts), 5);
    const LanguageStates states = cache.gather(texts);
    EXPECT_THAT(states.lengths, ElementsAre(2, 0, 1, 2, 2, 2, 3));
    EXPECT_TRUE(at::equal(states.rows, states_of(std::vector<TokenIds>{
                                           {1, 2}, {3}, {4, 5}, {1, 2}, {6, 7}, {8, 9, 10}})));
  }
  TextStateCache again(folder_, key_);
  EXPECT_EQ(ensure(again, texts), 0);
  EXPECT_EQ(opened_, 1);  // the model is loaded for missing texts only
  EXPECT_EQ(ensure(again, {{3}, {11}}), 1);
  EXPECT_TRUE(at::equal(again.gather(std::vector<TokenIds>{{11}}).rows,
                        states_of(std::vector<TokenIds>{{11}})));
  EXPECT_THROW(again.gather(std::vector<TokenIds>{{12}}), c10::Error);
}

TEST_F(TextStateCacheTest, AnotherModelHasFilesOfItsOwn) {
  TextStateCache cache(folder_, key_);
  ensure(cache, {{1, 2}});
  TextStateKey other = key_;
  other.model = "cubes";
  TextStateCache others(folder_, other);
  EXPECT_NE(others.folder(), cache.folder());
  EXPECT_EQ(ensure(others, {{1, 2}}), 1);
}

TEST_F(TextStateCacheTest, StatesOfAnotherModelInItsFolderAreRefused) {
  TextStateCache cache(folder_, key_);
  ensure(cache, {{1, 2}});
  std::ofstream(cache.folder() / "2_tokens" / "key.json") << "{}";
  TextStateCache again(folder_, key_);
  EXPECT_THAT(message_of([&] { ensure(again, {{1, 2}}); }), HasSubstr("2_tokens"));
}

TEST_F(TextStateCacheTest, ADamagedRowIsNotUsed) {
  TextStateCache cache(folder_, key_);
  ensure(cache, {{1, 2}});
  std::fstream file(cache.folder() / "2_tokens" / "rows.bin",
                    std::ios::in | std::ios::out | std::ios::binary);
  file.put('x').flush();
  EXPECT_THAT(message_of([&] {
                cache.gather(std::vector<TokenIds>{{1, 2}});
              }),
              HasSubstr("damaged"));
}

TEST_F(TextStateCacheTest, StatesAreRoundedToTheirType) {
  key_.storage = at::kBFloat16;
  TextStateCache cache(folder_, key_);
  const std::vector<TokenIds> texts{{1001, 2}};
  ensure(cache, texts);
  EXPECT_TRUE(at::equal(cache.gather(texts).rows, states_of(texts).to(at::kBFloat16)));
}

TEST_F(TextStateCacheTest, SeveralRunsShareTheWork) {
  std::vector<TokenIds> texts;
  for (std::int64_t i = 0; i < 40; ++i) texts.push_back(TokenIds(1 + i % 3, i));
  std::atomic<std::int64_t> added{0};
  {
    std::vector<std::jthread> runs;
    for (int i = 0; i < 3; ++i) {
      runs.emplace_back([&] {
        TextStateCache cache(folder_, key_);
        EnsureOptions options;
        options.batch_size = 2;
        options.quiet = true;
        added += cache.ensure(
            texts, [] { return [](std::span<const TokenIds> some) { return states_of(some); }; },
            options);
        EXPECT_TRUE(at::equal(cache.gather(texts).rows, states_of(texts)));
      });
    }
  }
  EXPECT_EQ(added, 40);
}

}  // namespace
}  // namespace blip2
