#include "blip2/model/retrieval_model.h"

#include <algorithm>

#include "blip2/base/error.h"
#include "blip2/data/batch.h"
#include "blip2/model/directory.h"

namespace blip2 {
namespace {

constexpr std::int64_t kMaxTextTokens = 32;  // as this program and LAVIS train

std::filesystem::path need_stage1(const std::filesystem::path& folder) {
  if (const auto found = stage1_folder(folder)) return *found;
  throw Error("the model has no stage-1 heads and keeps no stage-1 model", folder.string(),
              "matching and retrieval need a model that stage 1 trained");
}

Blip2Config without_language(Blip2Config config) {
  config.language.reset();
  return config;
}

}  // namespace

RetrievalModel::RetrievalModel(const std::filesystem::path& path, const std::string& precision,
                               at::ScalarType bridge, const PictureChoices& pictures) {
  const auto folder = need_stage1(path);
  config_ = without_language(read_blip2_config(folder / "config.json"));
  const std::shared_ptr<const TensorFile> weights = open_model_weights(folder);
  tokenizer_ = load_tokenizer(qformer_tokenizer_folder(folder));
  check_vocabulary(*tokenizer_, config_.qformer.vocab_size, folder);
  bridge_ = load_bridge(weights, config_, /*trainable=*/false);
  images_ = std::make_unique<ImageSide>(folder, weights, config_, precision, pictures);
  pass_ = std::make_unique<QFormerPass>(bridge_->qformer->pass({bridge}));
}

double RetrievalModel::temperature() const {
  return std::max(bridge_->heads->temperature.item<double>(), 0.001);
}

TextRows RetrievalModel::tokenize(std::span<const std::string> texts, bool special_tokens) const {
  // transformers cuts nothing: all of a text that there are positions for.
  const std::int64_t most =
      config_.layout == ModelLayout::own ? kMaxTextTokens : config_.qformer.max_position_embeddings;
  std::vector<std::vector<std::int32_t>> ids;
  for (const std::string& text : texts) {
    const Prompt words = special_tokens ? Prompt(text) : Prompt::plain(text);
    ids.push_back(encode_at_most(*tokenizer_, words, most));
    check_ids(ids.back(), config_.qformer.vocab_size);
  }
  return ragged_text(ids);
}

ImageKeysValues RetrievalModel::project_images(const ImageFeatures& features) const {
  return pass_->project_image(features, bridge_->feature_norm());
}

at::Tensor RetrievalModel::embed_images(const ImageKeysValues& images) const {
  return blip2::embed_images(bridge_->stage1_parts(), *pass_, images);
}

at::Tensor RetrievalModel::embed_texts(const TextRows& texts) const {
  return blip2::embed_texts(bridge_->stage1_parts(), *pass_, texts);
}

at::Tensor RetrievalModel::match(const ImageKeysValues& images, const TextRows& texts,
                                 const Pairs& pairs) const {
  return blip2::match(bridge_->stage1_parts(), *pass_, images, texts, pairs);
}

at::Tensor RetrievalModel::hidden_images(const ImageKeysValues& images) const {
  return pass_->encode_queries(bridge_->query_tokens, images).hidden;
}

at::Tensor RetrievalModel::hidden_pairs(const ImageKeysValues& images, const TextRows& texts,
                                        const Pairs& pairs) const {
  return pass_->encode_multimodal(bridge_->query_tokens, images, texts, pairs).queries;
}

at::Tensor RetrievalModel::hidden_texts(const TextRows& texts) const {
  return pass_->encode_text(texts);
}

}  // namespace blip2
