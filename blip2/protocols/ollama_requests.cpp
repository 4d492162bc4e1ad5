#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "blip2/io/utf8.h"
#include "blip2/protocols/known_members_internal.h"
#include "blip2/protocols/ollama.h"
#include "blip2/protocols/openai_messages_internal.h"
#include "blip2/protocols/parts_internal.h"
#include "blip2/protocols/settings_internal.h"

namespace blip2 {
namespace {

using nlohmann::json;

constexpr std::string_view kGenerateRead[] = {
    "model", "prompt", "system", "images", "stream", "raw", "options", "logprobs", "top_logprobs"};
constexpr std::string_view kChatRead[] = {"model",   "messages", "stream",
                                          "options", "logprobs", "top_logprobs"};
// PhotoPrism adds id and version.
constexpr std::string_view kOllamaPassedOver[] = {"keep_alive", "shift", "truncate", "id",
                                                  "version"};
constexpr NeutralMember kOllamaNeutral[] = {
    {"suffix", is_empty_value}, {"template", is_empty_value}, {"context", is_empty_value},
    {"format", is_empty_value}, {"think", is_false_value},    {"tools", is_empty_value},
    {"width", is_zero_value},   {"height", is_zero_value},    {"steps", is_zero_value},
};

constexpr std::string_view kOptionsRead[] = {"seed",
                                             "num_predict",
                                             "top_k",
                                             "top_p",
                                             "temperature",
                                             "repeat_penalty",
                                             "presence_penalty",
                                             "frequency_penalty",
                                             "stop",
                                             "num_beams",
                                             "length_penalty",
                                             "no_repeat_ngram_size"};
// How Ollama loads a model, and what counts only together with a member of kOptionsNeutral.
constexpr std::string_view kOptionsPassedOver[] = {
    "num_ctx",        "num_batch", "num_gpu",      "main_gpu",     "num_thread",      "numa",
    "low_vram",       "f16_kv",    "logits_all",   "vocab_only",   "use_mmap",        "use_mlock",
    "embedding_only", "num_keep",  "mirostat_tau", "mirostat_eta", "penalize_newline"};

bool is_whole_text(const json& value) {
  return value.is_number() && value.get<double>() == -1;
}

constexpr NeutralMember kOptionsNeutral[] = {
    {"mirostat", is_zero_value}, {"tfs_z", is_one_value},          {"typical_p", is_one_value},
    {"min_p", is_zero_value},    {"repeat_last_n", is_whole_text},
};

constexpr std::string_view kOllamaMessageRead[] = {"role", "content", "images"};
constexpr std::string_view kOllamaMessagePassedOver[] = {"thinking"};
constexpr NeutralMember kOllamaMessageNeutral[] = {{"tool_calls", is_empty_value},
                                                   {"tool_name", is_empty_value},
                                                   {"tool_call_id", is_empty_value}};

constexpr std::string_view kShowRead[] = {"model", "name"};
constexpr std::string_view kShowPassedOver[] = {"verbose", "system", "template", "options"};

// -1 and -2 stand for as many as there may be; more than that are as many.
std::optional<std::int64_t> most_tokens(const Members& options, const RequestLimits& limits) {
  const auto asked = options.whole("num_predict", -2, kMost32);
  if (!asked) return std::nullopt;
  return *asked <= 0 ? limits.max_tokens : std::min(*asked, limits.max_tokens);
}

void read_options(const Members& request_members, const RequestLimits& limits,
                  CompletionRequest& request) {
  constexpr double kLeastPenalty = 0.01, kMostPenalty = 10;
  const json* object = request_members.object("options");
  if (object == nullptr) return;
  const Members options(*object, request_members.path_of("options"));
  check_members(options, {kOptionsRead, kOptionsPassedOver, kOptionsNeutral});
  GenerationSettings& settings = request.settings;
  read_sampling(options, settings);
  const auto seed = options.whole("seed", -kMost64, kMost64);  // below 0: any
  if (seed && *seed >= 0) settings.seed = static_cast<std::uint64_t>(*seed);
  settings.max_new_tokens = most_tokens(options, limits);
  settings.repetition_penalty = options.number("repeat_penalty", kLeastPenalty, kMostPenalty);
  settings.beams = options.whole("num_beams", 1, limits.max_beams);
  settings.length_penalty = options.number("length_penalty", -kMostPenalty, kMostPenalty);
  settings.no_repeat_ngram_size = options.whole("no_repeat_ngram_size", 0, limits.max_tokens);
  read_penalties(options, request);
  request.stop = read_stops(options, limits);
}

CompletionRequest read_common(const Members& members, const RequestLimits& limits) {
  CompletionRequest request;
  request.model =
      requested_model(&text_value_at(members.need("model", "a string"), "model"), "model", limits);
  request.stream = members.flag("stream").value_or(true);
  read_logprobs(members, limits, request);
  read_options(members, limits, request);
  return request;
}

void add_images(const Members& members, PartReader& reader, std::vector<Part>& parts) {
  const json* images = members.list("images");
  for (std::size_t i = 0; images != nullptr && i < images->size(); ++i) {
    const std::string path = fmt::format("{}[{}]", members.path_of("images"), i);
    parts.push_back(reader.picture(text_value_at((*images)[i], path), path));
  }
}

Turn read_ollama_message(const json& value, const std::string& path, PartReader& reader) {
  const Members message(value, path);
  Turn turn{read_role(message), {}};
  check_members(message, {kOllamaMessageRead, kOllamaMessagePassedOver, kOllamaMessageNeutral});
  add_images(message, reader, turn.parts);
  if (!turn.parts.empty() && turn.role != "user") {
    refuse(message.path_of("images"),
           fmt::format("a message of the {} may not have pictures", turn.role),
           "unsupported_content");
  }
  const std::string* content = message.text("content");
  turn.parts.push_back(reader.text(content == nullptr ? "" : *content, message.path_of("content")));
  return turn;
}

}  // namespace

CompletionRequest parse_ollama_generate(std::string_view body, const RequestLimits& limits) {
  const json parsed = parse_body(body, limits);
  const Members members(parsed, "");
  check_members(members, {kGenerateRead, kOllamaPassedOver, kOllamaNeutral});
  CompletionRequest request = read_common(members, limits);
  request.raw = members.flag("raw").value_or(false);
  PartReader reader(limits, limits.pictures.most);
  const std::string *system = members.text("system"), *prompt = members.text("prompt");
  if (system != nullptr && !system->empty()) {
    request.turns.push_back({"system", {reader.text(*system, "system")}});
  }
  Turn user{"user", {}};
  add_images(members, reader, user.parts);
  user.parts.push_back(reader.text(prompt == nullptr ? "" : *prompt, "prompt"));
  request.load_only = user.parts.size() == 1 && user.parts[0].text.empty();
  request.turns.push_back(std::move(user));
  if (!request.load_only) check_turns(request.turns, "prompt");
  return request;
}

CompletionRequest parse_ollama_chat(std::string_view body, const RequestLimits& limits) {
  const json parsed = parse_body(body, limits);
  const Members members(parsed, "");
  check_members(members, {kChatRead, kOllamaPassedOver, kOllamaNeutral});
  CompletionRequest request = read_common(members, limits);
  const json* found = members.find("messages");
  request.load_only = found == nullptr || (found->is_array() && found->empty());
  if (request.load_only) return request;
  const json& messages = message_list(members, limits);
  PartReader reader(limits, limits.pictures.most);
  for (std::size_t i = 0; i < messages.size(); ++i) {
    request.turns.push_back(
        read_ollama_message(messages[i], fmt::format("messages[{}]", i), reader));
  }
  check_turns(request.turns, "messages");
  return request;
}

std::string parse_ollama_show(std::string_view body, const RequestLimits& limits) {
  const json parsed = parse_body(body, limits);
  const Members members(parsed, "");
  check_members(members, {kShowRead, kShowPassedOver});
  const std::string* name = members.text("model");
  if (name == nullptr) name = &text_value_at(members.need("name", "a string"), "name");
  return requested_model(name, "model", limits);
}

}  // namespace blip2
