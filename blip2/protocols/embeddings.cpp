#include "blip2/protocols/embeddings.h"

#include <fmt/format.h>

#include <bit>
#include <utility>

#include "blip2/io/base64.h"
#include "blip2/io/utf8.h"
#include "blip2/protocols/items_internal.h"
#include "blip2/protocols/known_members_internal.h"
#include "blip2/protocols/openai_messages_internal.h"
#include "blip2/protocols/request_json_internal.h"

namespace blip2 {
namespace {

using nlohmann::json;

constexpr std::string_view kEmbeddingsRead[] = {"model", "input", "messages", "encoding_format",
                                                "dimensions"};
constexpr std::string_view kEmbeddingsPassedOver[] = {"user", "priority", "request_id",
                                                      "cache_salt"};

bool is_text_name(const json& value) {
  return value == "text";
}

constexpr NeutralMember kEmbeddingsNeutral[] = {
    {"input_type", is_empty_value},
    {"modality", is_text_name},
    {"normalize", is_true_value},
    {"add_special_tokens", is_true_value},
    {"truncate_prompt_tokens", is_zero_value},
    {"chat_template", is_empty_value},
    {"mm_processor_kwargs", is_empty_value},
    {"continue_final_message", is_false_value},
};

EncodingFormat read_format(const Members& members) {
  const std::string* name = members.text("encoding_format");
  if (name == nullptr || *name == "float") return EncodingFormat::number;
  if (*name == "base64") return EncodingFormat::base64;
  refuse("encoding_format",
         fmt::format("expected float or base64, got \"{}\"", printable(*name, 40)));
}

void check_width(const Members& members, std::int64_t width) {
  constexpr std::int64_t kMost = 1 << 20;
  const auto asked = members.whole("dimensions", 1, kMost);
  if (!asked || *asked == width || width == 0) return;
  refuse("dimensions", fmt::format("this model's vectors have {} numbers, got {}", width, *asked));
}

// vLLM's shape: the parts of all messages of one conversation.
Part read_conversation(const Members& members, const RequestLimits& limits) {
  std::vector<Part> parts;
  for (Turn& turn : read_openai_messages(members, limits)) {
    for (Part& part : turn.parts) parts.push_back(std::move(part));
  }
  return single_part(std::move(parts), "messages");
}

std::string numbers(const std::vector<float>& vector) {
  std::string out = "[";
  for (const float number : vector) out += fmt::format("{}{}", out.size() > 1 ? "," : "", number);
  return out + "]";
}

std::string base64_of(const std::vector<float>& vector) {
  static_assert(std::endian::native == std::endian::little);
  return encode_base64(
      {reinterpret_cast<const char*>(vector.data()), vector.size() * sizeof(float)});
}

}  // namespace

EmbeddingsRequest parse_embeddings(std::string_view body, const RequestLimits& limits,
                                   std::int64_t width) {
  const json parsed = parse_body(body, limits);
  const Members members(parsed, "");
  check_members(members, {kEmbeddingsRead, kEmbeddingsPassedOver, kEmbeddingsNeutral});
  EmbeddingsRequest request;
  request.model = requested_model(members.text("model"), "model", limits);
  request.format = read_format(members);
  check_width(members, width);
  const json* input = members.find("input");
  if (input != nullptr && members.find("messages") != nullptr) {
    refuse("messages", "expected either input or messages, got both");
  }
  if (members.find("messages") != nullptr) {
    request.inputs.push_back(read_conversation(members, limits));
    return request;
  }
  PartReader reader(limits, limits.pictures.most_listed);
  ItemReader items(limits, reader);
  const json& inputs = members.need("input", "a string or a list");
  if (inputs.is_object()) {  // one vector, of however many parts
    request.inputs.push_back(items.item(inputs, "input"));
  } else {
    request.inputs = items.items(inputs, "input");
  }
  return request;
}

std::string embeddings_answer(const AnswerHead& head, const EmbeddingsRequest& request,
                              std::span<const std::vector<float>> vectors, const Usage& usage) {
  std::string answer = R"({"object":"list","data":[)";
  for (std::size_t i = 0; i < vectors.size(); ++i) {
    answer +=
        fmt::format(R"({}{{"object":"embedding","index":{},"embedding":)", i > 0 ? "," : "", i);
    answer += request.format == EncodingFormat::base64 ? '"' + base64_of(vectors[i]) + '"'
                                                       : numbers(vectors[i]);
    answer += "}";
  }
  const auto model = dumped(head.model);
  return answer + fmt::format(R"(],"model":{},"usage":{{"prompt_tokens":{},"total_tokens":{}}}}})",
                              model, usage.prompt_tokens, usage.prompt_tokens);
}

}  // namespace blip2
