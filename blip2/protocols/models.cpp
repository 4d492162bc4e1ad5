#include "blip2/protocols/models.h"

#include "blip2/io/picture_format.h"
#include "blip2/protocols/request_json_internal.h"

namespace blip2 {
namespace {

using nlohmann::ordered_json;

ordered_json limits_of(const ModelCard& card, const RequestLimits& limits) {
  const PictureRules& pictures = limits.pictures;
  const std::size_t most = card.generates ? pictures.most : pictures.most_listed;
  ordered_json formats = ordered_json::array();  // "jpeg", "png", ...
  for (const PictureKind& kind : picture_kinds()) {
    formats.push_back(kind.media_type.substr(kind.media_type.find('/') + 1));
  }
  ordered_json all = {
      {"max_body_bytes", limits.max_body},          {"max_text_bytes", limits.max_text},
      {"max_images", pictures.accepted ? most : 0}, {"max_image_bytes", pictures.max_bytes},
      {"max_image_pixels", pictures.max_pixels},    {"image_formats", std::move(formats)}};
  if (!card.generates) return all;
  all.update(ordered_json{{"max_tokens", limits.max_tokens},
                          {"max_n", limits.max_answers},
                          {"max_beams", limits.max_beams},
                          {"max_messages", limits.max_turns}});
  return all;
}

ordered_json abilities_of(const ModelCard& card) {
  ordered_json list = ordered_json::array();
  if (card.generates) list.push_back("completion");
  if (card.embedding_width == 0) return list;
  list.push_back("embedding");
  list.push_back("score");
  return list;
}

ordered_json entry_of_model(const ModelCard& card, const RequestLimits& limits) {
  ordered_json inputs = {"text"}, outputs = ordered_json::array();
  if (limits.pictures.accepted) inputs.push_back("image");
  if (card.generates) outputs.push_back("text");
  if (card.embedding_width > 0) outputs.push_back("embeddings");
  return {
      {"id", card.name},
      {"object", "model"},
      {"created", card.created},
      {"owned_by", "blip2"},
      {"max_model_len", card.generates ? ordered_json(card.max_model_len) : ordered_json()},
      {"architecture",
       {{"name", card.architecture}, {"input_modalities", inputs}, {"output_modalities", outputs}}},
      {"image_size", card.image_size},
      {"embedding_width", card.embedding_width},
      {"capabilities", abilities_of(card)},
      {"limits", limits_of(card, limits)}};
}

}  // namespace

std::string openai_models(const ModelCard& card, const RequestLimits& limits) {
  return dumped(
      {{"object", "list"}, {"data", ordered_json::array({entry_of_model(card, limits)})}});
}

std::string openai_model(const ModelCard& card, const RequestLimits& limits) {
  return dumped(entry_of_model(card, limits));
}

}  // namespace blip2
