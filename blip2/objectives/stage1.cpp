#include "blip2/objectives/stage1.h"

#include <fmt/format.h>

#include "blip2/base/error.h"
#include "blip2/base/random.h"
#include "blip2/nn/tensor_bridge.h"

namespace blip2 {
namespace {

// The purpose of a seed: dropout's is 0.
constexpr std::uint64_t kNegativesPurpose = 7;

at::Tensor unit_vectors(const at::Tensor& hidden, const torch::nn::Linear& projection) {
  namespace F = torch::nn::functional;
  const at::Tensor projected =
      at::linear(hidden.to(at::kFloat), projection->weight, projection->bias);
  return F::normalize(projected, F::NormalizeFuncOptions().dim(-1));
}

void check_batch(const Stage1Batch& batch) {
  const std::int64_t rows = batch.image_embeds.dim() == 3 ? batch.image_embeds.size(0) : -1;
  const auto counts = [&](const at::Tensor& ids) { return ids.dim() == 1 && ids.size(0) == rows; };
  if (rows >= 1 && batch.text.texts() == rows && counts(batch.image_ids) &&
      counts(batch.caption_ids)) {
    return;
  }
  throw Error(
      fmt::format("expected image features [B, P, D] with a text, an image id and a "
                  "caption id each, got {}, {} texts, {} and {}",
                  shape_text(batch.image_embeds.sizes()), batch.text.texts(),
                  shape_text(batch.image_ids.sizes()), shape_text(batch.caption_ids.sizes())),
      "stage-1 batch");
}

ImageKeysValues project(const Stage1Parts& parts, const QFormerPass& pass,
                        const at::Tensor& features) {
  return parts.norm ? pass.project_image(features, *parts.norm) : pass.project_image(features);
}

void check_negatives(const Negatives& negatives, std::int64_t rows) {
  const auto fits = [rows](const std::vector<std::int64_t>& drawn) {
    return static_cast<std::int64_t>(drawn.size()) == rows;
  };
  if (fits(negatives.images) && fits(negatives.texts)) return;
  throw Error(fmt::format("expected {} negatives each way, got {} and {}", rows,
                          negatives.images.size(), negatives.texts.size()),
              "stage-1 batch");
}

}  // namespace

Stage1Loss stage1_loss(const Stage1Parts& parts, const Stage1Batch& batch,
                       const Stage1Options& options) {
  check_batch(batch);
  const Stage1Heads& heads = parts.heads;
  const QFormerPass pass = parts.qformer.pass(options.compute);
  const ImageKeysValues images = project(parts, pass, batch.image_embeds);

  const auto apart = pass.encode_apart(parts.query_tokens, images, batch.text);
  const at::Tensor cosine =
      best_cosine(unit_vectors(apart.queries.hidden, heads.vision_projection),
                  unit_vectors(apart.first_tokens, heads.text_projection));  // [B,B]
  const at::Tensor matches = matching_pairs(batch.image_ids, batch.caption_ids);
  const ContrastLoss contrast = contrast_loss(
      cosine, heads.temperature, matches,
      {.label_smoothing = options.label_smoothing, .clamp_temperature = options.clamp_temperature});

  const GenerationText generation = generation_text(batch.text, options.decoder_token);
  JointStates joint;
  MatchingLoss matching{at::zeros({}), {}, 0};
  Negatives negatives;
  if (options.matching) {
    negatives = batch.negatives
                    ? *batch.negatives
                    : draw_negatives(contrast.similarity, matches,
                                     derive_seed(options.compute.seed, kNegativesPurpose));
    check_negatives(negatives, batch.text.texts());
    const Triplets triplets = make_triplets(negatives);
    joint = pass.encode_joint(parts.query_tokens, images, batch.text, triplets.pairs,
                              generation.inputs, generation.sources, apart.queries);
    matching = matching_loss(matching_logits(joint.queries, heads.itm_head), triplets.labels);
  } else if (!generation.sources.empty()) {
    joint.generated = pass.generate_text(generation.inputs, generation.sources, apart.queries);
  }

  TokenLoss tokens{at::zeros({}), 0, 0};
  if (joint.generated.defined()) {
    tokens =
        vocabulary_loss(heads.cls->transform(joint.generated), pass.words(), pass.compute_words(),
                        heads.cls->predictions->bias, generation.targets, options.label_smoothing);
  }
  return {.itc = contrast.loss,
          .itm = matching.loss,
          .itg = tokens.loss,
          .total = contrast.loss + matching.loss + tokens.loss,
          .itc_accuracy = contrast.accuracy,
          .itm_accuracy = matching.accuracy,
          .itg_accuracy = tokens.accuracy,
          .negatives = std::move(negatives)};
}

at::Tensor embed_images(const Stage1Parts& parts, const QFormerPass& pass,
                        const ImageKeysValues& images) {
  return unit_vectors(pass.encode_queries(parts.query_tokens, images).hidden,
                      parts.heads.vision_projection);
}

at::Tensor embed_texts(const Stage1Parts& parts, const QFormerPass& pass, const TextRows& text) {
  return unit_vectors(pass.encode_first_tokens(text), parts.heads.text_projection);
}

at::Tensor match(const Stage1Parts& parts, const QFormerPass& pass, const ImageKeysValues& images,
                 const TextRows& text, const Pairs& pairs) {
  return matching_logits(pass.encode_multimodal(parts.query_tokens, images, text, pairs).queries,
                         parts.heads.itm_head);
}

}  // namespace blip2
