#include <cstdint>
#include <nlohmann/json.hpp>
#include <string_view>

#include "blip2/protocols/content_type.h"
#include "blip2/protocols/embeddings.h"
#include "blip2/protocols/ollama.h"
#include "blip2/protocols/openai_chat.h"
#include "blip2/protocols/picture_header.h"
#include "blip2/protocols/request_error.h"
#include "blip2/protocols/scores.h"
#include "blip2/protocols/tokens.h"

namespace {

using blip2::CompletionRequest;
using blip2::RequestLimits;

RequestLimits small_limits() {
  RequestLimits limits;
  limits.max_text = 1000;
  limits.pictures.most = 2;
  limits.pictures.hosts = {"example.org"};
  limits.pictures.media_root = "/media";
  return limits;
}

void need(bool condition) {
  if (!condition) __builtin_trap();
}

// What parsers promise of a chat.
void check(const CompletionRequest& request, const RequestLimits& limits) {
  std::size_t pictures = 0, text = 0;
  for (const auto& turn : request.turns) {
    for (const auto& part : turn.parts) {
      pictures += part.picture.has_value();
      text += part.text.size();
      need(!part.picture || part.picture->bytes.empty() != part.picture->url.empty());
    }
  }
  need(pictures <= limits.pictures.most && text <= limits.max_text);
  need(request.load_only || (!request.turns.empty() && request.turns.back().role != "assistant"));
  need(request.n >= 1 && request.n <= limits.max_answers &&
       request.stop.size() <= limits.max_stops);
  const auto& settings = request.settings;
  need(settings.max_new_tokens.value_or(1) >= 1 &&
       settings.max_new_tokens.value_or(1) <= limits.max_tokens);
  need(settings.temperature.value_or(1) > 0 && settings.top_p.value_or(1) > 0);
  need(blip2::openai_completion({}, request, {}).size() > 2);
}

void parse(std::uint8_t which, std::string_view body, const RequestLimits& limits) {
  switch (which % 11) {
    case 0:
      return check(blip2::parse_openai_chat(body, limits), limits);
    case 1:
      return check(blip2::parse_ollama_generate(body, limits), limits);
    case 2:
      return check(blip2::parse_ollama_chat(body, limits), limits);
    case 3:
      return need(!blip2::parse_embeddings(body, limits, 256).inputs.empty());
    case 4: {
      const auto request = blip2::parse_rerank(body, limits);
      return need(request.top_n >= 1 && request.top_n <= request.documents.size());
    }
    case 5: {
      const auto request = blip2::parse_score(body, limits);
      return need(request.left(request.pairs() - 1).picture.has_value() !=
                  request.right(request.pairs() - 1).picture.has_value());
    }
    case 6:
      return need(blip2::parse_tokenize(body, limits).text.size() <= limits.max_text);
    case 7:
      for (const std::int32_t id : blip2::parse_detokenize(body, limits, 1000))
        need(id >= 0 && id < 1000);
      return;
    case 8:
      return blip2::check_content_type(body, blip2::ContentTypeRule::json);
    case 9:
      return need(!blip2::parse_ollama_show(body, limits).empty());
    default: {
      const auto header = blip2::check_picture(body, limits.pictures, "picture");
      return need(header.width > 0 && header.height > 0 &&
                  header.width * header.height <= limits.pictures.max_pixels);
    }
  }
}

}  // namespace

// The first byte chooses the parser, the rest is the request's body: a request that keeps every
// promise, or a RequestError of a status from 400 to 499 whose answer is JSON.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  static const RequestLimits limits = small_limits();
  try {
    parse(data[0], {reinterpret_cast<const char*>(data + 1), size - 1}, limits);
  } catch (const blip2::RequestError& error) {
    need(error.status() >= 400 && error.status() < 500);
    need(nlohmann::json::parse(blip2::openai_error(error))["error"]["message"].is_string());
  }
  return 0;
}
