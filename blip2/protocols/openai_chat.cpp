#include "blip2/protocols/openai_chat.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "blip2/io/utf8.h"
#include "blip2/protocols/openai_members_internal.h"
#include "blip2/protocols/openai_messages_internal.h"
#include "blip2/protocols/settings_internal.h"

namespace blip2 {
namespace {

using nlohmann::json;

constexpr std::string_view kStreamMembers[] = {"include_usage"};
constexpr std::string_view kStreamExtras[] = {"include_obfuscation", "continuous_usage_stats"};

// Two names of one setting, which must agree if both are there.
std::optional<std::int64_t> either(const Members& members, const char* first, const char* second,
                                   std::int64_t most) {
  const auto a = members.whole(first, 1, most), b = members.whole(second, 1, most);
  if (a && b && *a != *b) {
    refuse(members.path_of(second), fmt::format("is {}, but {} is {}", *b, first, *a));
  }
  return a ? a : b;
}

GenerationSettings read_settings(const Members& members, const RequestLimits& limits) {
  constexpr double kLeastPenalty = 0.01, kMostPenalty = 10;
  GenerationSettings settings;
  read_sampling(members, settings);
  if (const auto seed = members.whole("seed", 0, kMost64)) {
    settings.seed = static_cast<std::uint64_t>(*seed);
  }
  settings.max_new_tokens = members.whole("max_completion_tokens", 1, limits.max_tokens);
  const auto older_name = members.whole("max_tokens", 1, limits.max_tokens);
  if (!settings.max_new_tokens) settings.max_new_tokens = older_name;
  settings.min_new_tokens =
      members.whole("min_tokens", 0, settings.max_new_tokens.value_or(limits.max_tokens));
  settings.beams = either(members, "num_beams", "beams", limits.max_beams);
  settings.no_repeat_ngram_size = members.whole("no_repeat_ngram_size", 0, limits.max_tokens);
  settings.length_penalty = members.number("length_penalty", -kMostPenalty, kMostPenalty);
  settings.repetition_penalty = members.number("repetition_penalty", kLeastPenalty, kMostPenalty);
  return settings;
}

// Several answers are the best beams, or else drawn.
void read_answers(const Members& members, const RequestLimits& limits, CompletionRequest& request) {
  GenerationSettings& settings = request.settings;
  request.n = members.whole("n", 1, limits.max_answers).value_or(1);
  const std::int64_t beams = settings.beams.value_or(1);
  if (request.n == 1 || (beams == 1 && settings.sample == true)) return;
  if (beams > 1 && request.n > beams) {
    refuse(members.path_of("n"),
           fmt::format("expected at most as many as beams ({}), got {}", beams, request.n));
  }
  if (beams == 1 && settings.sample == false) {
    refuse(members.path_of("n"),
           "without sampling all answers would be the same; ask for one, or give "
           "a temperature above 0 or num_beams");
  }
  if (beams == 1) settings.sample = true;
}

void read_stream(const Members& members, CompletionRequest& request) {
  request.stream = members.flag("stream").value_or(false);
  const json* options = members.object("stream_options");
  if (options == nullptr) return;
  const Members stream(*options, members.path_of("stream_options"));
  check_members(stream, {kStreamMembers, kStreamExtras});
  request.include_usage = stream.flag("include_usage").value_or(false);
}

}  // namespace

CompletionRequest parse_openai_chat(std::string_view body, const RequestLimits& limits) {
  const json parsed = parse_body(body, limits);
  const Members members(parsed, "");
  check_members(members, kChatMembers);
  CompletionRequest request;
  request.model = requested_model(members.text("model"), "model", limits);
  request.settings = read_settings(members, limits);
  read_answers(members, limits, request);
  read_penalties(members, request);
  read_logprobs(members, limits, request);
  read_stream(members, request);
  request.stop = read_stops(members, limits);
  request.turns = read_openai_messages(members, limits);
  return request;
}

}  // namespace blip2
