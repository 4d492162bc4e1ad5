#include <fmt/format.h>

#include <algorithm>

#include "blip2/protocols/parts_internal.h"
#include "blip2/protocols/settings_internal.h"

namespace blip2 {
namespace {

// Below it a temperature makes every logit but the largest vanish; vLLM has the same border.
constexpr double kColdest = 1e-5;
constexpr double kHottest = 2.0;

// Whether tokens are drawn; nothing if the request does not say.
std::optional<bool> draws(const GenerationSettings& s) {
  if (s.temperature == 0.0 || s.top_p == 0.0 || s.top_k == 1) return false;
  if (s.temperature || (s.top_p && *s.top_p < 1) || (s.top_k && *s.top_k > 1)) return true;
  return std::nullopt;
}

void check_stop(const std::string& stop, const std::string& path, const RequestLimits& limits) {
  if (!stop.empty() && stop.size() <= limits.max_stop_bytes) return;
  refuse(path, fmt::format("expected a string of 1 to {} bytes, got {} bytes",
                           limits.max_stop_bytes, stop.size()));
}

}  // namespace

void read_sampling(const Members& members, GenerationSettings& settings) {
  settings.temperature = members.number("temperature", 0, kHottest);
  if (settings.temperature && *settings.temperature < kColdest) settings.temperature = 0.0;
  settings.top_p = members.number("top_p", 0, 1);
  settings.top_k = members.whole("top_k", -1, kMost32);
  if (settings.top_k == -1) settings.top_k = 0;
  settings.sample = draws(settings);
  if (settings.sample != false) return;
  settings.temperature.reset();
  settings.top_p.reset();
  settings.top_k.reset();
}

void read_penalties(const Members& members, CompletionRequest& request) {
  constexpr double kMost = 2;
  request.presence_penalty = members.number("presence_penalty", -kMost, kMost).value_or(0);
  request.frequency_penalty = members.number("frequency_penalty", -kMost, kMost).value_or(0);
}

void read_logprobs(const Members& members, const RequestLimits& limits,
                   CompletionRequest& request) {
  request.logprobs = members.flag("logprobs").value_or(false);
  const auto top = members.whole("top_logprobs", 0, limits.max_top_logprobs);
  if (top.value_or(0) > 0 && !request.logprobs) {
    refuse(members.path_of("top_logprobs"), "needs logprobs to be true");
  }
  request.top_logprobs = top.value_or(0);
}

std::vector<std::string> read_stops(const Members& members, const RequestLimits& limits) {
  const nlohmann::json* stop = members.find("stop");
  if (stop == nullptr) return {};
  const std::string path = members.path_of("stop");
  const nlohmann::json list = stop->is_string() ? nlohmann::json::array({*stop}) : *stop;
  if (!list.is_array()) refuse_type(path, "a string or a list of strings", *stop);
  if (list.size() > limits.max_stops) {
    refuse(path, fmt::format("expected at most {} strings, got {}", limits.max_stops, list.size()));
  }
  std::vector<std::string> stops;
  for (const auto& one : list) {
    check_stop(text_value_at(one, path), path, limits);
    stops.push_back(one.get<std::string>());
  }
  return stops;
}

void check_turns(const std::vector<Turn>& turns, const std::string& path) {
  if (turns.back().role == "assistant") {
    refuse(path, "the last message is the assistant's; expected one of the user");
  }
  const bool any = std::any_of(turns.begin(), turns.end(),
                               [](const Turn& turn) { return says_something(turn.parts); });
  if (!any) refuse(path, "expected a text or a picture, got only white space");
}

}  // namespace blip2
