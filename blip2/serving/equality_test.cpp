// The engine's answers are those of the models alone, whatever runs beside.
#include <gtest/gtest.h>

#include <thread>

#include "blip2/base/error.h"
#include "blip2/model/generation_model.h"
#include "blip2/model/retrieval_model.h"
#include "blip2/qformer/stage1_heads.h"
#include "blip2/serving/engine_test_helpers.h"
#include "blip2/serving/test_model.h"

namespace blip2 {
namespace {

using std::chrono::milliseconds;

constexpr std::uint64_t kPictures = 5;

// A request, and what the model alone answers.
struct Case {
  std::uint64_t picture;
  Prompt prompt;
  GenerationOptions options;
  std::vector<GeneratedText> expected;
};

Case draw_case(Random& random) {
  const auto draw = [&](int most) { return static_cast<int>(random.uniform() * most); };
  Case drawn;
  drawn.picture = static_cast<std::uint64_t>(draw(kPictures));
  std::string text;
  for (int i = draw(4) == 0 ? 60 : draw(12); i >= 0; --i) {
    text += static_cast<char>('a' + draw(26));
    if (draw(5) == 0) text += " ";
  }
  drawn.prompt = Prompt::plain(text);
  GenerationOptions& o = drawn.options;
  o.max_new_tokens = 1 + draw(24);
  o.seed = static_cast<std::uint64_t>(draw(1000));
  switch (draw(3)) {
    case 0:
      o.sample = true, o.temperature = 0.5 + random.uniform(), o.top_k = draw(2) * 20;
      o.return_sequences = 1 + draw(3);
      break;
    case 1:
      o.beams = 2 + draw(3), o.return_sequences = 1 + draw(2), o.length_penalty = draw(3) - 1;
      break;
    default:
      o.min_new_tokens = draw(static_cast<int>(o.max_new_tokens));
  }
  if (draw(3) == 0) o.presence_penalty = random.uniform() * 2, o.frequency_penalty = 0.5;
  if (draw(3) == 0) o.repetition_penalty = 1.3;
  if (draw(3) == 0) o.stop_strings = {"e", "\ufffd"};
  if (draw(3) == 0) o.log_probabilities = true, o.top_log_probabilities = draw(4);
  return drawn;
}

std::vector<Case> draw_cases(const TestFolder& folder, int count, std::uint64_t seed) {
  const GenerationModel model(folder.path());
  std::vector<std::string> files;
  for (std::uint64_t i = 0; i < kPictures; ++i) {
    files.push_back((folder.path() / (std::to_string(i) + ".png")).string());
    write_file(files.back(), test_picture(i));
  }
  const auto seen = model.project_images(files);
  Random random(seed);
  std::vector<Case> cases;
  for (int i = 0; i < count; ++i) {
    Case& one = cases.emplace_back(draw_case(random));
    one.expected =
        model.generate(std::span(&seen[one.picture], 1), std::span(&one.prompt, 1), one.options)[0];
  }
  return cases;
}

void expect_same(const std::vector<ScoredToken>& got, const std::vector<ChosenToken>& expected) {
  ASSERT_EQ(got.size(), expected.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    EXPECT_EQ(got[i].id, expected[i].token);
    EXPECT_EQ(got[i].log_probability, expected[i].log_probability);
    ASSERT_EQ(got[i].top.size(), expected[i].top.size());
    for (std::size_t t = 0; t < got[i].top.size(); ++t) {
      EXPECT_EQ(got[i].top[t].id, expected[i].top[t].token);
    }
  }
}

void expect_same(const Ended& ended, const Case& wanted) {
  ASSERT_TRUE(ended.result) << (ended.error ? ended.error->message : "no answer");
  ASSERT_EQ(ended.result->texts.size(), wanted.expected.size());
  for (std::size_t i = 0; i < wanted.expected.size(); ++i) {
    const WrittenText& got = ended.result->texts[i];
    const GeneratedText& expected = wanted.expected[i];
    EXPECT_EQ(got.tokens, expected.tokens);
    EXPECT_EQ(got.text, expected.text);
    EXPECT_EQ(got.score, expected.score);
    EXPECT_EQ(got.cut, expected.cut);
    const auto choice = static_cast<std::int64_t>(i);
    const auto pieces = ended.pieces.find(choice);
    EXPECT_EQ(pieces == ended.pieces.end() ? "" : pieces->second, expected.text);
    expect_same(got.scored, expected.chosen);
    const auto tokens = ended.tokens.find(choice);
    if (tokens != ended.tokens.end()) expect_same(tokens->second, expected.chosen);
  }
}

class Equality : public ::testing::TestWithParam<TestModel> {};

TEST_P(Equality, ManyJobsAtRandomTimesEqualTheModelAlone) {
  const TestFolder folder(GetParam());
  const std::vector<Case> cases = draw_cases(folder, 120, 11);
  EngineOptions options;
  options.max_batch = 9;
  options.prompt_part = 24;  // the longest prompts are read in parts
  options.cache_bytes = 2000;
  Engine engine(folder.path(), options);
  std::vector<Asked> asked;
  for (const Case& one : cases) {
    asked.emplace_back(test_picture(one.picture), one.prompt, one.options);
  }
  const auto submit = [&](std::size_t first) {
    Random random(first);
    for (std::size_t i = first; i < asked.size(); i += 2) {
      ASSERT_TRUE(engine.submit(asked[i].job()));
      if (i % 3 == 0)
        std::this_thread::sleep_for(milliseconds(static_cast<int>(random.uniform() * 9)));
      if (i % 7 == 5) asked[i].job()->cancel();
    }
  };
  std::thread other([&] { submit(1); });
  submit(0);
  other.join();
  EXPECT_TRUE(engine.drain(kLong));
  int compared = 0;
  for (std::size_t i = 0; i < cases.size(); ++i) {
    const Ended ended = asked[i].wait(milliseconds(0));
    if (i % 7 == 5 && !ended.result) continue;
    SCOPED_TRACE(i);
    expect_same(ended, cases[i]);
    ++compared;
  }
  EXPECT_GE(compared, 100);
  const EngineCounts counts = counts_at_rest(engine);
  EXPECT_EQ(counts.done + counts.cancelled, 120);
  EXPECT_EQ(counts.rows_running, 0);
  EXPECT_LE(counts.cache_bytes, 2000);
  EXPECT_GT(counts.step_rows, 2 * counts.steps);  // several ran side by side
}

INSTANTIATE_TEST_SUITE_P(Models, Equality,
                         ::testing::Values(TestModel::decoder, TestModel::t5,
                                           TestModel::reads_prompt, TestModel::reads_language,
                                           TestModel::t5_reads_language));

// The same picture and dialogue with another prompt has other soft prompts.
TEST(ReadsLanguage, TheLanguageModelReadsThePromptFirst) {
  for (const auto kind : {TestModel::reads_language, TestModel::t5_reads_language}) {
    const TestFolder folder(kind);
    const GenerationModel model(folder.path());
    const at::InferenceMode inference;
    const at::Tensor pixels = at::rand({3, 32, 32}, at::make_generator<at::CPUGeneratorImpl>(1));
    const auto seen = model.project_images(model.images().encode(std::vector{pixels}));
    const at::Tensor soft = model.soft_prompts_of(seen[0], "a cat");
    EXPECT_TRUE(at::equal(soft, model.soft_prompts_of(seen[0], "a cat")));
    EXPECT_GT((soft - model.soft_prompts_of(seen[0], "a dog")).abs().max().item<float>(), 1e-3f);
    EXPECT_TRUE(model.soft_prompts_of(seen[0], "").isfinite().all().item<bool>());
  }
}

// What a shuffled vector of jobs gives alone and beside text jobs.
TEST(Retrieval, VectorsAndScoresEqualTheModelAlone) {
  const TestFolder folder(TestModel::decoder);
  const RetrievalModel model(folder.path());
  const at::InferenceMode inference;
  Engine engine(folder.path(), {});
  const Asked beside(test_picture(1), "a", {});
  ASSERT_TRUE(engine.submit(beside.job()));
  const std::vector<std::string> texts{"cat", "a b c", "dogs"};
  const auto vectors = std::make_shared<EmbeddingJob>();
  const auto scores = std::make_shared<ScoreJob>();
  vectors->texts = scores->texts = texts;
  for (const std::uint64_t i : {7, 8}) {
    vectors->pictures.push_back({test_picture(i)});
    scores->pictures.push_back({test_picture(i)});
  }
  const auto embedded = run_job(engine, vectors);
  const auto scored = run_job(engine, scores);
  ASSERT_TRUE(embedded.result && scored.result);
  const TextRows rows = model.tokenize(texts);
  const at::Tensor text_vectors = model.embed_texts(rows);
  for (std::size_t p = 0; p < 2; ++p) {
    const auto file = (folder.path() / "one.png").string();
    write_file(file, test_picture(7 + p));
    const auto seen = model.project_images(model.images().encode(std::span(&file, 1)));
    const at::Tensor queries = model.embed_images(seen);
    const Embedding& picture = embedded.result->pictures[p];
    EXPECT_EQ(picture.rows, 4);
    EXPECT_EQ(picture.width, 8);
    EXPECT_TRUE(at::equal(at::tensor(picture.values), queries.flatten()));
    const at::Tensor cosine = best_cosine(queries, text_vectors)[0];
    const at::Tensor matched =
        at::softmax(model.match(seen, rows, {{0, 0, 0}, {0, 1, 2}}), 1).select(1, 1);
    for (std::int64_t t = 0; t < 3; ++t) {
      const MatchScore& score = scored.result->scores[p][static_cast<std::size_t>(t)];
      EXPECT_EQ(score.itc, cosine[t].item<double>());
      EXPECT_EQ(score.itm, matched[t].item<double>());
    }
  }
  for (std::int64_t t = 0; t < 3; ++t) {
    const Embedding& text = embedded.result->texts[static_cast<std::size_t>(t)];
    EXPECT_EQ(text.rows, 1);
    EXPECT_EQ(text.tokens, rows.lengths[static_cast<std::size_t>(t)]);
    EXPECT_TRUE(at::equal(at::tensor(text.values), text_vectors[t]));
  }
  EXPECT_EQ(scored.result->text_tokens, rows.ids.size(0));
  EXPECT_TRUE(beside.wait().result);
}

TEST(Retrieval, NeedsNoLanguageModel) {
  const TestFolder folder(TestModel::compares);
  const RetrievalModel model(folder.path());
  const at::InferenceMode inference;
  Engine engine(folder.path(), {});
  EXPECT_FALSE(engine.facts().generates);
  EXPECT_EQ(engine.facts().picture_width, 32);
  const std::vector<std::string> texts{"cat", "dogs"};
  const auto vectors = std::make_shared<EmbeddingJob>();
  vectors->texts = texts;
  vectors->pictures.push_back({test_picture(7)});
  const auto embedded = run_job(engine, vectors);
  ASSERT_TRUE(embedded.result);
  const at::Tensor expected = model.embed_texts(model.tokenize(texts));
  for (std::int64_t t = 0; t < 2; ++t) {
    const Embedding& text = embedded.result->texts[static_cast<std::size_t>(t)];
    EXPECT_TRUE(at::equal(at::tensor(text.values), expected[t]));
  }
  EXPECT_EQ(embedded.result->pictures[0].rows, 4);
  const Asked text(test_picture(1), "a", {});
  ASSERT_TRUE(engine.submit(text.job()));
  const Ended ended = text.wait();
  ASSERT_TRUE(ended.error);
  EXPECT_EQ(ended.error->fault, JobFault::bad_request);
  EXPECT_THROW(engine.tokenize("a", true), Error);
  EXPECT_TRUE(engine.drain(kLong));
}

TEST(Retrieval, NeedsStage1HeadsAndSaneNumbers) {
  const TestFolder folder(TestModel::decoder);
  EngineOptions options;
  options.max_items = 2;
  options.max_pairs = 3;
  {
    Engine engine(folder.path(), options);
    const auto many = std::make_shared<EmbeddingJob>(), bad = std::make_shared<EmbeddingJob>();
    many->texts = {"a", "b", "c"};
    bad->pictures = {{test_picture(1), "first"}, {"x", "second"}};
    const auto pairs = std::make_shared<ScoreJob>();
    pairs->texts = {"a", "b"};
    pairs->pictures = {{test_picture(1)}, {test_picture(2)}};
    EXPECT_EQ(run_job(engine, many).error->fault, JobFault::bad_request);
    EXPECT_EQ(run_job(engine, pairs).error->fault, JobFault::bad_request);
    const auto failure = run_job(engine, bad).error;
    EXPECT_EQ(failure->fault, JobFault::bad_picture);
    EXPECT_NE(failure->message.find("second"), std::string::npos);
  }
  Blip2Config config = read_blip2_config(folder.path() / "config.json");
  config.stage1_heads = false;
  write_file(folder.path() / "config.json", write_blip2_config(config).dump());
  Engine engine(folder.path(), options);
  EXPECT_EQ(engine.facts().embedding_width, 0);
  const auto job = std::make_shared<EmbeddingJob>();
  job->texts = {"a"};
  const auto outcome = run_job(engine, job);
  ASSERT_TRUE(outcome.error);
  EXPECT_EQ(outcome.error->fault, JobFault::bad_request);
}

}  // namespace
}  // namespace blip2
