#include <fmt/format.h>

#include <utility>

#include "blip2/protocols/answer_time_internal.h"
#include "blip2/protocols/ollama.h"
#include "blip2/protocols/openai_answers_internal.h"
#include "blip2/protocols/request_json_internal.h"

namespace blip2 {
namespace {

using nlohmann::ordered_json;

ordered_json line_of(OllamaRoute route, const AnswerHead& head, const std::string& text,
                     bool done) {
  ordered_json line = {{"model", head.model},
                       {"created_at", rfc3339(head.created, head.created_ns)}};
  if (route == OllamaRoute::generate) {
    line["response"] = text;
  } else {
    line["message"] = {{"role", "assistant"}, {"content", text}};
  }
  line["done"] = done;
  return line;
}

std::string finish_reason(const CompletionResult& result) {
  return result.choices.empty() ? "stop" : result.choices.front().finish_reason;
}

void add_counts(ordered_json& line, const CompletionResult& result) {
  line["done_reason"] = finish_reason(result);
  line["total_duration"] = result.durations.total;
  line["load_duration"] = result.durations.load;
  line["prompt_eval_count"] = result.usage.prompt_tokens;
  line["prompt_eval_duration"] = result.durations.prompt;
  line["eval_count"] = result.usage.completion_tokens;
  line["eval_duration"] = result.durations.generation;
}

// "135M", "1.2B".
std::string shown_count(std::int64_t parameters) {
  constexpr double kMillion = 1e6, kBillion = 1e9;
  const auto count = static_cast<double>(parameters);
  return count < kBillion ? fmt::format("{:.0f}M", count / kMillion)
                          : fmt::format("{:.1f}B", count / kBillion);
}

ordered_json details_of(const ModelCard& card) {
  return {{"parent_model", ""},
          {"format", "safetensors"},
          {"family", card.architecture},
          {"families", {card.architecture, card.language_family}},
          {"parameter_size", shown_count(card.parameters)},
          {"quantization_level", card.quantization}};
}

ordered_json capabilities_of(const ModelCard& card) {
  ordered_json list = ordered_json::array();
  if (card.generates) list.push_back("completion");
  list.push_back("vision");
  if (card.embedding_width > 0) list.push_back("embedding");
  return list;
}

ordered_json entry_of(const ModelCard& card) {
  return {{"name", card.name},
          {"model", card.name},
          {"size", card.bytes},
          {"digest", card.digest},
          {"details", details_of(card)}};
}

}  // namespace

std::string ollama_line(OllamaRoute route, const AnswerHead& head, const CompletionPiece& piece) {
  ordered_json line = line_of(route, head, piece.text, false);
  if (!piece.tokens.empty()) line["logprobs"] = openai_logprobs(piece.tokens);
  return dumped(line) + "\n";
}

std::string ollama_last_line(OllamaRoute route, const AnswerHead& head,
                             const CompletionResult& result) {
  ordered_json line = line_of(route, head, "", true);
  add_counts(line, result);
  return dumped(line) + "\n";
}

std::string ollama_answer(OllamaRoute route, const AnswerHead& head,
                          const CompletionRequest& request, const CompletionResult& result) {
  const Choice choice = result.choices.empty() ? Choice{} : result.choices.front();
  ordered_json line = line_of(route, head, choice.text, true);
  if (request.load_only) {
    line["done_reason"] = "load";
    return dumped(line);
  }
  add_counts(line, result);
  if (request.logprobs) line["logprobs"] = openai_logprobs(choice.tokens);
  return dumped(line);
}

std::string ollama_tags(const ModelCard& card) {
  ordered_json entry = entry_of(card);
  entry["modified_at"] = rfc3339(card.created);
  entry["capabilities"] = capabilities_of(card);
  return dumped({{"models", ordered_json::array({entry})}});
}

std::string ollama_show(const ModelCard& card) {
  ordered_json info = {{"general.architecture", card.architecture},
                       {"general.parameter_count", card.parameters}};
  info[card.architecture + ".context_length"] = card.max_model_len;
  info[card.architecture + ".vision.image_size"] = card.image_size;
  info[card.architecture + ".embedding_length"] = card.embedding_width;
  return dumped({{"modelfile", ""},
                 {"parameters", ""},
                 {"template", ""},
                 {"details", details_of(card)},
                 {"model_info", info},
                 {"capabilities", capabilities_of(card)},
                 {"modified_at", rfc3339(card.created)}});
}

std::string ollama_version(std::string_view version) {
  return dumped({{"version", std::string(version)}});
}

std::string ollama_running(const ModelCard& card) {
  constexpr std::int64_t kNever = 253'402'300'799;  // the last second of the year 9999
  ordered_json entry = entry_of(card);
  entry["expires_at"] = rfc3339(kNever);
  entry["size_vram"] = 0;
  entry["context_length"] = card.max_model_len;
  return dumped({{"models", ordered_json::array({entry})}});
}

}  // namespace blip2
