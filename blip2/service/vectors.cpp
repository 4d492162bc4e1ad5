// Routes of vectors, scores and tokens.

#include <algorithm>
#include <cmath>
#include <mutex>
#include <utility>

#include "blip2/protocols/embeddings.h"
#include "blip2/protocols/scores.h"
#include "blip2/protocols/tokens.h"
#include "blip2/service/service_call_internal.h"

namespace blip2 {
namespace {

void report_errors(Job& job, std::shared_ptr<ServiceCall> call) {
  job.on_error = [call](const JobError& error) { call->refuse(refusal_of(error, *call)); };
}

// One vector of length 1: a text's own, or the mean of a picture's queries.
std::vector<float> one_vector(const Embedding& embedding) {
  std::vector<float> mean(static_cast<std::size_t>(embedding.width), 0.0f);
  for (std::size_t i = 0; i < embedding.values.size(); ++i) {
    mean[i % mean.size()] += embedding.values[i];
  }
  double squares = 0;
  for (const float value : mean) squares += static_cast<double>(value) * value;
  const auto scale = static_cast<float>(1 / std::sqrt(std::max(squares, 1e-24)));
  for (float& value : mean) value *= scale;
  return mean;
}

void require_heads(const ServiceState& state, const char* what) {
  if (state.engine->facts().embedding_width > 0) return;
  throw RequestError(400, "not_supported", "model",
                     std::string("this model has no stage-1 heads, so it makes no ") + what);
}

void finish_embeddings(const ServiceState& state, const ServiceCall& call,
                       const EmbeddingsRequest& request, const EmbeddingJob::Result& result) {
  std::vector<std::vector<float>> vectors;
  Usage usage;
  auto picture = result.pictures.begin(), text = result.texts.begin();
  for (const Part& part : request.inputs) {
    const Embedding& embedding = part.picture ? *picture++ : *text++;
    usage.prompt_tokens += embedding.tokens;
    vectors.push_back(one_vector(embedding));
  }
  call.json(embeddings_answer(state.head("", request.model), request, vectors, usage));
}

void embed(ServiceState& state, std::shared_ptr<ServiceCall> call,
           std::shared_ptr<EmbeddingsRequest> request) {
  auto job = std::make_shared<EmbeddingJob>();
  for (Part& part : request->inputs) {
    if (part.picture) {
      job->pictures.push_back(job_picture(*part.picture));
    } else {
      job->texts.push_back(part.text);
    }
  }
  job->on_done = [&state, call, request](const EmbeddingJob::Result& result) {
    finish_embeddings(state, *call, *request, result);
  };
  report_errors(*job, call);
  state.submit({std::move(job)}, *call);
}

// Pairs of a picture and a text that are scored in one answer. Where one side is one part, it is
// one job; otherwise a job for each pair.
struct Scoring {
  std::shared_ptr<ServiceCall> call;
  std::function<void(const std::vector<MatchScore>&, std::int64_t tokens)> done;
  std::mutex mutex;  // guards what follows; jobs end on the engine's threads
  std::vector<MatchScore> scores;
  std::int64_t tokens = 0;
  std::size_t missing = 0;
  bool failed = false;
};

std::shared_ptr<ScoreJob> score_job(std::vector<Part*> parts) {
  auto job = std::make_shared<ScoreJob>();
  for (Part* part : parts) {
    if (part->picture) {
      job->pictures.push_back(job_picture(*part->picture));
    } else {
      job->texts.push_back(part->text);
    }
  }
  return job;
}

void take_scores(Scoring& scoring, std::size_t first, const ScoreJob::Result& result) {
  const std::lock_guard lock(scoring.mutex);
  for (const auto& row : result.scores) {
    for (const MatchScore& score : row) scoring.scores[first++] = score;
  }
  scoring.tokens += result.text_tokens;
  if (--scoring.missing == 0 && !scoring.failed) scoring.done(scoring.scores, scoring.tokens);
}

void fail_scores(Scoring& scoring, const JobError& error) {
  const std::lock_guard lock(scoring.mutex);
  if (std::exchange(scoring.failed, true)) return;
  scoring.call->refuse(refusal_of(error, *scoring.call));
}

void score_all(const ServiceState& state, std::shared_ptr<Scoring> scoring,
               std::vector<std::vector<Part*>> groups, std::size_t each) {
  scoring->scores.resize(groups.size() * each);
  scoring->missing = groups.size();
  std::vector<std::shared_ptr<Job>> jobs;
  for (std::size_t i = 0; i < groups.size(); ++i) {
    auto job = score_job(std::move(groups[i]));
    job->on_done = [scoring, first = i * each](const ScoreJob::Result& result) {
      take_scores(*scoring, first, result);
    };
    job->on_error = [scoring](const JobError& error) { fail_scores(*scoring, error); };
    jobs.push_back(std::move(job));
  }
  state.submit(std::move(jobs), *scoring->call);
}

std::vector<PairScore> as_pairs(const std::vector<MatchScore>& scores) {
  std::vector<PairScore> pairs;
  for (const MatchScore& score : scores) {
    pairs.push_back({static_cast<float>(score.itm), static_cast<float>(score.itc)});
  }
  return pairs;
}

// The parts of each job.
std::vector<std::vector<Part*>> groups_of(ScoreRequest& request) {
  const bool product = request.first.size() == 1 || request.second.size() == 1;
  std::vector<std::vector<Part*>> groups(product ? 1 : request.pairs());
  if (product) {
    for (Part& part : request.first) groups[0].push_back(&part);
    for (Part& part : request.second) groups[0].push_back(&part);
    return groups;
  }
  for (std::size_t i = 0; i < groups.size(); ++i)
    groups[i] = {&request.first[i], &request.second[i]};
  return groups;
}

}  // namespace

void answer_embeddings(ServiceState& state, std::shared_ptr<ServiceCall> call) {
  require_heads(state, "vectors");
  auto request = std::make_shared<EmbeddingsRequest>(parse_embeddings(
      call->request.body, state.options.limits, state.engine->facts().embedding_width));
  std::vector<PictureSource*> pictures;
  collect_pictures(request->inputs, pictures);
  state.with_pictures(call, std::move(pictures),
                      [&state, call, request] { embed(state, call, request); });
}

void answer_score(ServiceState& state, std::shared_ptr<ServiceCall> call) {
  require_heads(state, "scores");
  auto request =
      std::make_shared<ScoreRequest>(parse_score(call->request.body, state.options.limits));
  std::vector<PictureSource*> pictures;
  collect_pictures(request->first, pictures);
  collect_pictures(request->second, pictures);
  state.with_pictures(call, std::move(pictures), [&state, call, request] {
    auto scoring = std::make_shared<Scoring>();
    scoring->call = call;
    scoring->done = [&state, call, request](const auto& scores, std::int64_t tokens) {
      call->json(score_answer(state.head("score-", request->model), *request, as_pairs(scores),
                              {tokens, 0, 0}));
    };
    const bool product = request->first.size() == 1 || request->second.size() == 1;
    score_all(state, scoring, groups_of(*request), product ? request->pairs() : 1);
  });
}

void answer_rerank(ServiceState& state, std::shared_ptr<ServiceCall> call) {
  require_heads(state, "scores");
  auto request =
      std::make_shared<RerankRequest>(parse_rerank(call->request.body, state.options.limits));
  std::vector<PictureSource*> pictures;
  collect_pictures(std::span(&request->query, 1), pictures);
  collect_pictures(request->documents, pictures);
  state.with_pictures(call, std::move(pictures), [&state, call, request] {
    auto scoring = std::make_shared<Scoring>();
    scoring->call = call;
    scoring->done = [&state, call, request](const auto& scores, std::int64_t tokens) {
      call->json(rerank_answer(state.head("rerank-", request->model), *request, as_pairs(scores),
                               {tokens, 0, 0}));
    };
    std::vector<Part*> parts = {&request->query};
    for (Part& document : request->documents) parts.push_back(&document);
    score_all(state, scoring, {std::move(parts)}, request->documents.size());
  });
}

void answer_tokenize(ServiceState& state, std::shared_ptr<ServiceCall> call) {
  require_language(state);
  const TokenizeRequest request = parse_tokenize(call->request.body, state.options.limits);
  const Prompt text = request.parse_special ? Prompt(request.text) : Prompt::plain(request.text);
  const auto tokens = state.engine->tokenize(text, request.add_special_tokens);
  std::vector<std::string> pieces;
  if (request.with_pieces) {
    for (const std::int32_t token : tokens) pieces.push_back(state.engine->piece(token));
  }
  call->json(tokenize_answer(request, tokens, pieces, state.engine->facts().positions));
}

void answer_detokenize(ServiceState& state, std::shared_ptr<ServiceCall> call) {
  require_language(state);
  const auto tokens =
      parse_detokenize(call->request.body, state.options.limits, state.engine->facts().vocabulary);
  call->json(detokenize_answer(state.engine->detokenize(tokens, false)));
}

}  // namespace blip2
