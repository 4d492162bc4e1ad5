#pragma once

#include <algorithm>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "blip2/protocols/completion.h"
#include "blip2/protocols/limits.h"

// POST /v1/rerank (Cohere's, Jina's and vLLM's shape) and POST /v1/score (vLLM's). The functions
// are pure; several threads may call them at once.
namespace blip2 {

// How a picture and a text are compared: by matching (ITM, a probability; the default) or by
// contrast (ITC, a cosine). The extension `score_by` says so: "itm" or "itc".
enum class ScoreBy { itm, itc };

// How well a picture and a text fit: a probability in [0, 1] and a cosine in [-1, 1].
struct PairScore {
  float itm = 0, itc = 0;

  float by(ScoreBy which) const { return which == ScoreBy::itm ? itm : itc; }
};

struct RerankRequest {
  std::string model;
  Part query;
  std::vector<Part> documents;
  std::size_t top_n = 0;  // how many results; at most the number of documents
  bool return_documents = true;
  ScoreBy by = ScoreBy::itm;
};

// Each pair has a score. Where one of the lists had one entry, it stands against all of the other.
struct ScoreRequest {
  std::string model;
  std::vector<Part> first, second;  // of the same length, or one of length 1
  ScoreBy by = ScoreBy::itm;

  std::size_t pairs() const { return std::max(first.size(), second.size()); }
  const Part& left(std::size_t pair) const { return first[first.size() == 1 ? 0 : pair]; }
  const Part& right(std::size_t pair) const { return second[second.size() == 1 ? 0 : pair]; }
};

// RequestError if a pair is not of one picture and one text, among others.
RerankRequest parse_rerank(std::string_view body, const RequestLimits& limits);
ScoreRequest parse_score(std::string_view body, const RequestLimits& limits);

// `scores`: one for each document (rerank) or pair (score), in the request's order. Equal scores
// keep that order. An entry of score has both scores under their names as well.
std::string rerank_answer(const AnswerHead& head, const RerankRequest& request,
                          std::span<const PairScore> scores, const Usage& usage);
std::string score_answer(const AnswerHead& head, const ScoreRequest& request,
                         std::span<const PairScore> scores, const Usage& usage);

}  // namespace blip2
