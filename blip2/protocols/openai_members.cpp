#include "blip2/protocols/openai_members_internal.h"

#include <array>
#include <string>

namespace blip2 {
namespace {

using nlohmann::json;

constexpr std::string_view kChatRequestRead[] = {
    "model",
    "messages",
    "stream",
    "stream_options",
    "max_tokens",
    "max_completion_tokens",
    "n",
    "stop",
    "seed",
    "temperature",
    "top_p",
    "top_k",
    "presence_penalty",
    "frequency_penalty",
    "logprobs",
    "top_logprobs",
    "num_beams",
    "beams",
    "repetition_penalty",
    "no_repeat_ngram_size",
    "min_tokens",
    "length_penalty",
};

// They label the request, or say how a server should schedule and cache it.
constexpr std::string_view kChatPassedOver[] = {
    "user",
    "metadata",
    "store",
    "service_tier",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "prompt_cache_options",
    "parallel_tool_calls",
    "reasoning_effort",
    "verbosity",
    "priority",
    "request_id",
    "cache_salt",
    "cache_prompt",
    "id_slot",
    "timings_per_token",
    "keep_alive",
};

bool is_text_format(const json& value) {
  return value.is_object() && value.size() == 1 && value.begin().key() == "type" &&
         value.begin().value() == "text";
}
bool is_text_alone(const json& value) {
  return value == json::array({"text"});
}
bool is_no_tool(const json& value) {
  return value == "none" || value == "auto";
}

constexpr NeutralMember kChatNeutral[] = {
    {"tools", is_empty_value},
    {"tool_choice", is_no_tool},
    {"functions", is_empty_value},
    {"function_call", is_no_tool},
    {"response_format", is_text_format},
    {"modalities", is_text_alone},
    {"logit_bias", is_empty_value},
    {"audio", is_false_value},
    {"prediction", is_false_value},
    {"web_search_options", is_false_value},
    {"moderation", is_false_value},
    {"min_p", is_zero_value},
    {"typical_p", is_one_value},
    {"best_of", is_one_value},
    {"use_beam_search", is_false_value},
    {"early_stopping", is_false_value},
    {"ignore_eos", is_false_value},
    {"echo", is_false_value},
    {"add_generation_prompt", is_true_value},
    {"continue_final_message", is_false_value},
    {"skip_special_tokens", is_true_value},
    {"spaces_between_special_tokens", is_true_value},
    {"include_stop_str_in_output", is_false_value},
    {"return_tokens_as_token_ids", is_false_value},
    {"return_token_ids", is_false_value},
    {"stop_token_ids", is_empty_value},
    {"bad_words", is_empty_value},
    {"allowed_token_ids", is_empty_value},
    {"documents", is_empty_value},
    {"chat_template", is_empty_value},
    {"chat_template_kwargs", is_empty_value},
    {"mm_processor_kwargs", is_empty_value},
    {"structured_outputs", is_empty_value},
    {"guided_json", is_empty_value},
    {"guided_regex", is_empty_value},
    {"guided_choice", is_empty_value},
    {"guided_grammar", is_empty_value},
    {"grammar", is_empty_value},
    {"json_schema", is_empty_value},
    {"prompt_logprobs", is_zero_value},
    {"truncate_prompt_tokens", is_zero_value},
};

constexpr std::string_view kMessageRead[] = {"role", "content"};
constexpr std::string_view kMessagePassedOver[] = {"name", "annotations", "reasoning_content",
                                                   "reasoning", "thinking"};
constexpr NeutralMember kMessageNeutral[] = {
    {"tool_calls", is_empty_value},   {"function_call", is_empty_value},
    {"tool_call_id", is_empty_value}, {"audio", is_empty_value},
    {"refusal", is_empty_value},      {"images", is_empty_value},
};

}  // namespace

const KnownMembers kChatMembers{kChatRequestRead, kChatPassedOver, kChatNeutral};
const KnownMembers kMessageMembers{kMessageRead, kMessagePassedOver, kMessageNeutral};

}  // namespace blip2
