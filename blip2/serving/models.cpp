#include "blip2/serving/models_internal.h"

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "blip2/model/directory.h"
#include "blip2/nn/batch_invariant.h"

namespace blip2 {
namespace {

at::ScalarType bridge_type(const EngineOptions& options) {
  return options.bridge_in_bf16 ? at::kBFloat16 : at::kFloat;
}

void report(const EngineOptions& options, double share) {
  if (options.progress) options.progress(share);
}

EngineFacts facts_of(const GenerationModel& model, const EngineOptions& options) {
  const Blip2Config& config = model.config();
  EngineFacts facts;
  facts.generates = true;
  facts.caption_prompt = config.caption_prompt;
  facts.question_prompt = config.question_prompt;
  facts.chat = model.chat();
  const std::int64_t most = most_positions(*config.language);
  facts.positions = most > 0 ? std::min(most, options.max_positions) : options.max_positions;
  facts.queries = config.num_query_tokens;
  facts.vocabulary = vocabulary_of(*config.language);
  facts.encoder_decoder = std::holds_alternative<T5Config>(*config.language);
  const at::ScalarType type = model.language().dtype();
  facts.weights = type == at::kFloat ? "f32" : type == at::kHalf ? "f16" : "bf16";
  return facts;
}

// Whether the directory's texts are written by its language model. One that has neither this nor
// stage-1 heads counts as one that should write: then the error says that it cannot.
bool is_for_writing(const std::filesystem::path& folder) {
  return read_blip2_config(folder / "config.json").language || !stage1_folder(folder);
}

ImageFeatures black_picture(const ImageSide& images) {
  const std::int64_t side = images.encoder().image_size();
  return images.encode({at::zeros({3, side, side})});
}

}  // namespace

Models::Models(const std::filesystem::path& folder, const EngineOptions& options) {
  if (is_for_writing(folder)) {
    writing_.emplace(folder, options.precision, bridge_type(options), options.pictures);
    if (options.chat) writing_->use_chat_template();
    facts_ = facts_of(*writing_, options);
  }
  report(options, 0.5);
  const at::InferenceMode inference;
  if (stage1_folder(folder)) {
    retrieving_.emplace(folder, options.precision, bridge_type(options), options.pictures);
    shared_ = writing_ && same_images(writing_->images(), retrieving_->images());
    facts_.embedding_width = retrieving_->config().image_text_hidden_size;
  }
  const ImageSide& images = writing_ ? writing_->images() : retrieving_->images();
  facts_.picture_width = facts_.picture_height = images.encoder().image_size();
  report(options, 0.8);
  warm_up();
  report(options, 1);
}

void Models::warm_up() const {
  if (!writing_) {
    retrieving_->embed_images(retrieving_->project_images(black_picture(retrieving_->images())));
    return;
  }
  const auto black = writing_->project_images(black_picture(writing_->images()));
  const Prompt prompt(writing_->config().caption_prompt);
  writing_->first_logits(black, std::span(&prompt, 1));
}

const Preprocessing& Models::preprocessing(const Ticket& ticket) const {
  return ticket.text ? writing_->images().preprocessing() : retrieving_->images().preprocessing();
}

at::Tensor Models::features_for(const Ticket& ticket, const KnownPicture& known) const {
  return ticket.text || shared_ ? known.features : known.retrieval;
}

bool Models::knows_enough(const Ticket& ticket, const KnownPicture& known) const {
  return features_for(ticket, known).defined() || (ticket.text && known.soft.defined());
}

void Models::add_features(std::span<PreparedPicture* const> pictures, const ImageSide& images,
                          at::Tensor KnownPicture::*features) const {
  std::vector<PreparedPicture*> missing;
  std::vector<at::Tensor> pixels;
  for (PreparedPicture* picture : pictures) {
    if ((picture->known.*features).defined()) continue;
    missing.push_back(picture);
    pixels.push_back(picture->pixels);
  }
  if (missing.empty()) return;
  const ImageFeatures all = images.encode(pixels);
  for (std::size_t i = 0; i < missing.size(); ++i) {
    missing[i]->known.*features = all.alone(static_cast<std::int64_t>(i)).clone();
  }
}

void Models::add_soft_prompts(std::span<PreparedPicture* const> pictures) const {
  std::vector<PreparedPicture*> missing;
  std::vector<ImageFeatures> features;
  for (PreparedPicture* picture : pictures) {
    if (picture->known.soft.defined()) continue;
    missing.push_back(picture);
    features.emplace_back(picture->known.features);
  }
  if (missing.empty()) return;
  const auto projected = writing_->project_images(join(features));
  batch_invariant_for(missing.size(), [&](std::size_t i) {
    missing[i]->known.soft = writing_->soft_prompts_of(projected[i], {});
  });
}

void Models::see(std::span<PreparedPicture* const> pictures, bool for_text,
                 PictureCache& cache) const {
  std::map<PictureCache::Key, PreparedPicture*> by_key;
  for (PreparedPicture* picture : pictures) {
    picture->known.add(cache.find(picture->key));
    by_key.try_emplace(picture->key, picture);
  }
  std::vector<PreparedPicture*> distinct;
  for (const auto& [key, picture] : by_key) distinct.push_back(picture);
  if (!for_text) {
    add_features(distinct, retrieving_->images(),
                 shared_ ? &KnownPicture::features : &KnownPicture::retrieval);
  } else if (writing_->config().prompt_matters()) {
    add_features(distinct, writing_->images(), &KnownPicture::features);
  } else {
    std::vector<PreparedPicture*> unseen;
    for (PreparedPicture* picture : distinct) {
      if (!picture->known.soft.defined()) unseen.push_back(picture);
    }
    add_features(unseen, writing_->images(), &KnownPicture::features);
    add_soft_prompts(unseen);
  }
  for (PreparedPicture* picture : distinct) cache.put(picture->key, picture->known);
  for (PreparedPicture* picture : pictures) {
    picture->known.add(by_key[picture->key]->known);
    picture->pixels.reset();
  }
}

}  // namespace blip2
