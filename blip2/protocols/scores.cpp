#include "blip2/protocols/scores.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <numeric>
#include <utility>

#include "blip2/io/utf8.h"
#include "blip2/protocols/items_internal.h"
#include "blip2/protocols/known_members_internal.h"
#include "blip2/protocols/request_json_internal.h"

namespace blip2 {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr std::string_view kRerankRead[] = {
    "model", "query", "documents", "top_n", "return_documents", "score_by"};
constexpr std::string_view kScoreRead[] = {"model", "text_1", "text_2", "queries", "documents",
                                           "items", "data_1", "data_2", "score_by"};
constexpr std::string_view kScoresPassedOver[] = {"user", "priority", "request_id", "cache_salt"};
constexpr NeutralMember kScoresNeutral[] = {
    {"rank_fields", is_empty_value},           {"instruction", is_empty_value},
    {"truncate_prompt_tokens", is_zero_value}, {"mm_processor_kwargs", is_empty_value},
    {"use_activation", is_true_value},
};

// The names under which vLLM takes the two lists of pairs.
constexpr std::pair<const char*, const char*> kListNames[] = {
    {"text_1", "text_2"}, {"queries", "documents"}, {"queries", "items"}, {"data_1", "data_2"}};

ScoreBy read_score_by(const Members& members) {
  const std::string* name = members.text("score_by");
  if (name == nullptr || *name == "itm") return ScoreBy::itm;
  if (*name == "itc") return ScoreBy::itc;
  refuse("score_by", fmt::format("expected itm or itc, got \"{}\"", printable(*name, 40)));
}

void check_pair(const Part& a, const Part& b, const std::string& path) {
  if (a.picture.has_value() != b.picture.has_value()) return;
  refuse(path,
         fmt::format("expected a picture and a text to compare, got two {}",
                     a.picture ? "pictures" : "texts"),
         "unsupported_content");
}

std::pair<const char*, const char*> list_names(const Members& members) {
  for (const auto& names : kListNames) {
    if (members.find(names.first) != nullptr && members.find(names.second) != nullptr) return names;
  }
  refuse("text_1", "expected text_1 and text_2, or queries and documents", "missing_parameter");
}

ordered_json result_of(const RerankRequest& request, std::size_t index, float score) {
  ordered_json result = {{"index", index}, {"relevance_score", score}};
  const Part& document = request.documents[index];
  if (request.return_documents && !document.picture) result["document"] = {{"text", document.text}};
  return result;
}

ordered_json usage_of(const Usage& usage) {
  return {{"prompt_tokens", usage.prompt_tokens}, {"total_tokens", usage.prompt_tokens}};
}

}  // namespace

RerankRequest parse_rerank(std::string_view body, const RequestLimits& limits) {
  const json parsed = parse_body(body, limits);
  const Members members(parsed, "");
  check_members(members, {kRerankRead, kScoresPassedOver, kScoresNeutral});
  RerankRequest request;
  request.model = requested_model(members.text("model"), "model", limits);
  request.by = read_score_by(members);
  request.return_documents = members.flag("return_documents").value_or(true);
  const auto top = members.whole("top_n", 1, 0x7fffffff);
  PartReader reader(limits, limits.pictures.most_listed);
  ItemReader items(limits, reader);
  request.query = items.item(members.need("query", "a text or a picture"), "query");
  request.documents = items.items(members.need("documents", "a list"), "documents");
  for (std::size_t i = 0; i < request.documents.size(); ++i) {
    check_pair(request.query, request.documents[i], fmt::format("documents[{}]", i));
  }
  const std::size_t all = request.documents.size();
  request.top_n = top ? std::min(all, static_cast<std::size_t>(*top)) : all;
  return request;
}

ScoreRequest parse_score(std::string_view body, const RequestLimits& limits) {
  const json parsed = parse_body(body, limits);
  const Members members(parsed, "");
  check_members(members, {kScoreRead, kScoresPassedOver, kScoresNeutral});
  ScoreRequest request;
  request.model = requested_model(members.text("model"), "model", limits);
  request.by = read_score_by(members);
  const auto [first, second] = list_names(members);
  PartReader reader(limits, limits.pictures.most_listed);
  ItemReader items(limits, reader);
  request.first = items.items(*members.find(first), first);
  request.second = items.items(*members.find(second), second);
  const std::size_t a = request.first.size(), b = request.second.size();
  if (a != b && a != 1 && b != 1) {
    refuse(second, fmt::format("expected 1 entry or as many as {} ({}), got {}", first, a, b));
  }
  for (std::size_t i = 0; i < request.pairs(); ++i) {
    check_pair(request.left(i), request.right(i), fmt::format("{}[{}]", second, b == 1 ? 0 : i));
  }
  return request;
}

std::string rerank_answer(const AnswerHead& head, const RerankRequest& request,
                          std::span<const PairScore> scores, const Usage& usage) {
  std::vector<std::size_t> order(scores.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return scores[a].by(request.by) > scores[b].by(request.by);
  });
  ordered_json results = ordered_json::array();
  for (std::size_t i = 0; i < std::min(request.top_n, order.size()); ++i) {
    results.push_back(result_of(request, order[i], scores[order[i]].by(request.by)));
  }
  const ordered_json tokens = {{"input_tokens", usage.prompt_tokens}, {"output_tokens", 0}};
  return dumped({{"id", head.id},
                 {"model", head.model},
                 {"usage", usage_of(usage)},
                 {"results", results},
                 {"meta", {{"tokens", tokens}}}});
}

std::string score_answer(const AnswerHead& head, const ScoreRequest& request,
                         std::span<const PairScore> scores, const Usage& usage) {
  ordered_json data = ordered_json::array();
  for (std::size_t i = 0; i < scores.size(); ++i) {
    data.push_back({{"index", i},
                    {"object", "score"},
                    {"score", scores[i].by(request.by)},
                    {"itc", scores[i].itc},
                    {"itm", scores[i].itm}});
  }
  return dumped({{"id", head.id},
                 {"object", "list"},
                 {"created", head.created},
                 {"model", head.model},
                 {"data", data},
                 {"usage", usage_of(usage)}});
}

}  // namespace blip2
