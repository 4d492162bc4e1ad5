#include "blip2/serving/engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <latch>
#include <thread>

#include "blip2/base/message_of.h"
#include "blip2/serving/engine_test_helpers.h"
#include "blip2/serving/test_model.h"

namespace blip2 {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;

GenerationOptions few_tokens(std::int64_t tokens = 8) {
  GenerationOptions options;
  options.max_new_tokens = tokens;
  options.min_new_tokens = tokens;
  return options;
}

class EngineTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { folder_ = new TestFolder(TestModel::decoder); }
  static void TearDownTestSuite() { delete std::exchange(folder_, nullptr); }

  Engine engine(EngineOptions options = {}) { return Engine(folder_->path(), options); }
  static inline TestFolder* folder_ = nullptr;
};

// Holds the model's thread in the first callback of a job.
struct Hold {
  explicit Hold(const Asked& asked) {
    asked.job()->on_text = [this](const TextPiece&) {
      if (std::exchange(held, true)) return;
      reached.count_down();
      released.wait();
    };
    asked.job()->options.log_probabilities = true;  // so that there is a piece for every token
  }
  bool held = false;
  std::latch reached{1}, released{1};
};

TEST_F(EngineTest, AFullQueueRefusesAtOnce) {
  EngineOptions options;
  options.max_queue = 3;
  Engine engine = this->engine(options);
  const Asked first(test_picture(1), "a", few_tokens());
  Hold hold(first);
  ASSERT_TRUE(engine.submit(first.job()));
  hold.reached.wait();
  std::vector<Asked> more;
  for (int i = 0; i < 5; ++i) more.emplace_back(test_picture(2), "b", few_tokens());
  // The model's thread is held: who waited for it would wait for ever.
  for (int i = 0; i < 5; ++i) EXPECT_EQ(engine.submit(more[i].job()), i < 3);
  EXPECT_EQ(engine.counts().waiting, 3);
  EXPECT_EQ(engine.counts().refused, 2);
  more[0].job()->cancel();  // makes room
  while (engine.counts().pictures_waiting + engine.counts().pictures_decoding > 0) {
    std::this_thread::sleep_for(milliseconds(1));
  }
  EXPECT_TRUE(engine.submit(more[3].job()));
  hold.released.count_down();
  for (const int i : {1, 2, 3}) EXPECT_TRUE(more[i].wait().result);
  EXPECT_TRUE(engine.drain(kLong));
  const EngineCounts counts = counts_at_rest(engine);
  EXPECT_EQ(counts.accepted, 5);
  EXPECT_EQ(counts.done, 4);
  EXPECT_EQ(counts.cancelled, 1);
  EXPECT_EQ(counts.waiting + counts.jobs_running, 0);
  EXPECT_EQ(counts.first_token.total, 4);
  EXPECT_EQ(counts.whole_job.total, 4);
}

TEST_F(EngineTest, ABadPictureFailsItsJobAlone) {
  EngineOptions options;
  options.max_picture_pixels = 40 * 36;
  Engine engine = this->engine(options);
  std::vector<Asked> asked;
  std::string cut = test_picture(3);
  cut.resize(cut.size() / 2);
  Image large{41, 36, std::vector<std::uint8_t>(41 * 36 * 3)};
  for (const std::string& bytes :
       {test_picture(1), std::string("no picture"), cut, encode_png(large), test_picture(2)}) {
    asked.emplace_back(bytes, "a", few_tokens());
    asked.back().job()->picture.name = "image_url " + std::to_string(asked.size());
  }
  for (const Asked& one : asked) ASSERT_TRUE(engine.submit(one.job()));
  for (const int i : {0, 4}) EXPECT_TRUE(asked[i].wait().result);
  for (const int i : {1, 2, 3}) {
    const Ended ended = asked[i].wait();
    ASSERT_TRUE(ended.error);
    EXPECT_EQ(ended.error->fault, JobFault::bad_picture);
    EXPECT_THAT(ended.error->message, HasSubstr("image_url " + std::to_string(i + 1)));
  }
  EXPECT_TRUE(engine.drain(kLong));
  EXPECT_EQ(engine.counts().failed, 3);
}

TEST_F(EngineTest, AnAnswerEndsWhereTheModelsPositionsDo) {
  Engine engine = this->engine();
  GenerationOptions options = few_tokens(240);
  options.max_new_tokens = std::numeric_limits<std::int64_t>::max();
  const Asked asked(test_picture(1), "a", options);
  EXPECT_TRUE(engine.submit(asked.job()));
  const Ended ended = asked.wait();
  ASSERT_TRUE(ended.result);
  const std::int64_t room = engine.facts().positions - ended.result->prompt_tokens;
  EXPECT_LE(ended.result->written_tokens, room);
  EXPECT_EQ(ended.result->texts[0].cut, ended.result->written_tokens == room);
}

TEST_F(EngineTest, SaysWhatAJobMayNotAsk) {
  Engine engine = this->engine();
  const auto fault = [&](const auto& change) -> std::pair<JobFault, std::string> {
    const Asked asked(test_picture(1), "a", few_tokens());
    change(*asked.job());
    EXPECT_TRUE(engine.submit(asked.job()));
    const Ended ended = asked.wait();
    return ended.error ? std::pair(ended.error->fault, ended.error->message)
                       : std::pair(JobFault::failed, std::string("no error"));
  };
  using ::testing::Pair;
  EXPECT_THAT(fault([](TextJob& job) { job.options.temperature = 0; }),
              Pair(JobFault::bad_request, HasSubstr("temperature")));
  EXPECT_THAT(fault([](TextJob& job) { job.options.beams = 33; }),
              Pair(JobFault::bad_request, HasSubstr("32")));
  EXPECT_THAT(fault([](TextJob& job) { job.options.beams = 20; }),  // too many for 257 tokens
              Pair(JobFault::bad_request, HasSubstr("vocabulary")));
  EXPECT_THAT(fault([](TextJob& job) { job.options.top_log_probabilities = 21; }),
              Pair(JobFault::bad_request, HasSubstr("top_log_probabilities")));
  EXPECT_THAT(fault([](TextJob& job) { job.options.stop_strings = {""}; }),
              Pair(JobFault::bad_request, HasSubstr("stop_strings")));
  EXPECT_THAT(fault([](TextJob& job) { job.picture.bytes.clear(); }),
              Pair(JobFault::bad_request, HasSubstr("picture")));
  EXPECT_THAT(fault([](TextJob& job) { job.prompt = std::string(250, 'x'); }),
              Pair(JobFault::too_long, HasSubstr("256")));
  EXPECT_THAT(
      fault([](TextJob& job) { job.options.min_new_tokens = job.options.max_new_tokens = 400; }),
      Pair(JobFault::too_long, HasSubstr("256")));
  EXPECT_THAT(message_of([] {
                EngineOptions options;
                options.max_batch = 0;
                Engine(folder_->path(), options);
              }),
              HasSubstr("max_batch"));
}

TEST_F(EngineTest, KeepsPicturesWithinItsBytes) {
  EngineOptions options;
  Engine engine = this->engine(options);
  const auto tokens_cached = [&](std::uint64_t picture) {
    const Asked asked(test_picture(picture), "a", few_tokens());
    EXPECT_TRUE(engine.submit(asked.job()));
    return asked.wait().result->cached_tokens;
  };
  EXPECT_EQ(tokens_cached(1), 0);
  EXPECT_EQ(tokens_cached(1), 4);
  EXPECT_EQ(tokens_cached(2), 0);
  EXPECT_EQ(tokens_cached(1), 4);
  const EngineCounts counts = engine.counts();
  EXPECT_EQ(counts.cache_hits, 2);
  EXPECT_EQ(counts.cache_misses, 2);
  EXPECT_EQ(counts.cache_pictures, 2);
  EXPECT_EQ(counts.cache_bytes, 2 * (4 * 16 + 4 * 32) * 4);  // features and soft prompts, f32
}

TEST_F(EngineTest, ALateJobEndsWaitingOrRunning) {
  EngineOptions options;
  options.job_timeout = milliseconds(4000);
  Engine engine = this->engine(options);
  const Asked running(test_picture(1), "a", few_tokens(200)),
      waiting(test_picture(2), "b", few_tokens());
  Hold hold(running);
  ASSERT_TRUE(engine.submit(running.job()));
  hold.reached.wait();
  ASSERT_TRUE(engine.submit(waiting.job()));
  std::this_thread::sleep_for(options.job_timeout + milliseconds(100));
  hold.released.count_down();
  for (const Asked* asked : {&running, &waiting}) {
    const Ended ended = asked->wait();
    ASSERT_TRUE(ended.error);
    EXPECT_EQ(ended.error->fault, JobFault::timed_out);
  }
  EXPECT_TRUE(engine.drain(kLong));
  EXPECT_EQ(engine.counts().timed_out, 2);
}

TEST_F(EngineTest, ACancelledJobIsDroppedBeforeItsNextToken) {
  Engine engine = this->engine();
  const Asked asked(test_picture(1), "a", few_tokens(200));
  asked.job()->options.log_probabilities = true;
  std::atomic<int> pieces = 0;
  asked.job()->on_text = [&](const TextPiece&) {
    if (++pieces == 3) asked.job()->cancel();
  };
  ASSERT_TRUE(engine.submit(asked.job()));
  EXPECT_TRUE(engine.drain(kLong));
  EXPECT_EQ(pieces, 3);
  EXPECT_EQ(engine.counts().cancelled, 1);
  EXPECT_EQ(engine.counts().done, 0);
}

TEST_F(EngineTest, DrainsAndStops) {
  Engine engine = this->engine();
  const Asked first(test_picture(1), "a", few_tokens(200)),
      second(test_picture(1), "a", few_tokens()), late(test_picture(1), "a", few_tokens());
  first.job()->options.log_probabilities = true;
  first.job()->on_text = [](const TextPiece&) {  // 20 seconds, if it is not stopped
    std::this_thread::sleep_for(milliseconds(100));
  };
  second.job()->options.log_probabilities = true;
  second.job()->on_text = first.job()->on_text;
  ASSERT_TRUE(engine.submit(first.job()));
  ASSERT_TRUE(engine.submit(second.job()));
  EXPECT_FALSE(engine.drain(milliseconds(20)));
  EXPECT_TRUE(engine.draining());
  EXPECT_FALSE(engine.submit(late.job()));
  engine.stop();
  for (const Asked* asked : {&first, &second}) {
    ASSERT_TRUE(asked->wait().error);
    EXPECT_EQ(asked->wait().error->fault, JobFault::stopped);
  }
  EXPECT_TRUE(engine.drain(milliseconds(0)));
  EXPECT_FALSE(engine.submit(late.job()));
}

TEST_F(EngineTest, TellsWhatTheModelIs) {
  std::vector<double> shares;
  EngineOptions options;
  options.progress = [&](double share) { shares.push_back(share); };
  const Engine engine(folder_->path(), options);
  EXPECT_THAT(shares, ::testing::ElementsAre(0.5, 0.8, 1));
  const EngineFacts& facts = engine.facts();
  EXPECT_EQ(facts.positions, 256);
  EXPECT_EQ(facts.queries, 4);
  EXPECT_EQ(facts.vocabulary, 257);
  EXPECT_EQ(facts.picture_width, 32);
  EXPECT_EQ(facts.embedding_width, 8);
  EXPECT_EQ(facts.weights, "f32");
  EXPECT_FALSE(facts.encoder_decoder);
  const auto ids = engine.tokenize(Prompt::plain("hé"), true);
  EXPECT_EQ(ids, (std::vector<std::int32_t>{'h', 0xc3, 0xa9}));
  EXPECT_EQ(engine.detokenize(ids, true), "hé");
  EXPECT_EQ(engine.piece('h'), "h");
}

}  // namespace
}  // namespace blip2
