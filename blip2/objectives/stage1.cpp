#include "blip2/objectives/stage1.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "blip2/base/error.h"
#include "blip2/base/random.h"
#include "blip2/nn/tensor_bridge.h"
#include "blip2/objectives/all_gather_texts_internal.h"

namespace blip2 {
namespace {

// The purposes of a step's seed beside the dropout of the passes and what objectives draw.
enum : std::uint64_t { kNegativesPurpose = 7, kRankPurpose = 10 };

Stage1Batch checked(Stage1Batch batch) {
  const std::int64_t rows = batch.image_embeds.images();
  const auto counts = [&](const at::Tensor& ids) { return ids.dim() == 1 && ids.size(0) == rows; };
  if (rows >= 1 && batch.text.texts() == rows && counts(batch.image_ids) &&
      counts(batch.caption_ids)) {
    return batch;
  }
  throw Error(
      fmt::format("expected pictures' features with a text, an image id and a caption id each, got "
                  "{}, {} texts, {} and {}",
                  rows, batch.text.texts(), shape_text(batch.image_ids.sizes()),
                  shape_text(batch.caption_ids.sizes())),
      "stage-1 batch");
}

ImageKeysValues project(const Stage1Parts& parts, const QFormerPass& pass,
                        const ImageFeatures& features) {
  return parts.norm ? pass.project_image(features, *parts.norm) : pass.project_image(features);
}

// Ids of all processes' rows.
at::Tensor gather_ids(const Ranks* ranks, const at::Tensor& ids) {
  return ranks ? ranks->all_gather(ids) : ids;
}

// Dropout of a process's own; what is drawn for the batch is shared.
ComputeOptions own_compute(const Stage1Options& options) {
  ComputeOptions compute = options.compute;
  if (options.ranks) compute.seed = derive_seed(compute.seed, kRankPurpose, options.ranks->rank());
  return compute;
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

at::Tensor all_unit_vectors(const Ranks* ranks, const at::Tensor& hidden,
                            const torch::nn::Linear& projection) {
  return all_gather_with_gradient(ranks, unit_vectors(hidden, projection));
}

}  // namespace

Stage1Step::Stage1Step(const Stage1Parts& parts, Stage1Batch batch, const Stage1Options& options)
    : parts_(parts),
      batch_(checked(std::move(batch))),
      options_(options),
      pass_(parts.qformer.pass(own_compute(options))),
      images_(project(parts, pass_, batch_.image_embeds)),
      first_(options.ranks ? options.ranks->rank() * batch_.text.texts() : 0) {
  const SharedPasses& passes = options.passes;
  if (!passes.contrast && !passes.pairs && !passes.generation) return;
  unimodal_ = encode_unimodal();
  const at::Tensor matches = this->matches();
  if (unimodal_.first_tokens.defined()) contrast_ = compare(matches);
  if (passes.generation) generation_ = generation_text(batch_.text, options.decoder_token);
  if (passes.pairs) {
    pair_up(matches);
  } else if (!generation_.sources.empty()) {
    joint_.generated =
        pass_.generate_text(generation_.inputs, generation_.sources, unimodal_.queries);
  }
}

// Queries alone, and text alone where it is compared with them.
QFormerPass::UnimodalStates Stage1Step::encode_unimodal() const {
  const SharedPasses& passes = options_.passes;
  // Pairs alone only have their negatives drawn by what is compared here.
  const at::AutoGradMode gradients(at::GradMode::is_enabled() &&
                                   (passes.contrast || passes.generation));
  const bool compares = passes.contrast || (passes.pairs && !batch_.negatives);
  if (compares) return pass_.encode_unimodal(parts_.query_tokens, images_, batch_.text);
  if (passes.generation) return {pass_.encode_queries(parts_.query_tokens, images_), {}};
  return {};
}

// Which pictures and texts of all processes belong together.
at::Tensor Stage1Step::matches() const {
  return matching_pairs(gather_ids(options_.ranks, batch_.image_ids),
                        gather_ids(options_.ranks, batch_.caption_ids));
}

ContrastLoss Stage1Step::compare(const at::Tensor& matches) const {
  const Ranks* ranks = options_.ranks;
  const at::Tensor cosine = best_cosine(
      all_unit_vectors(ranks, unimodal_.queries.hidden, parts_.heads.vision_projection),
      all_unit_vectors(ranks, unimodal_.first_tokens, parts_.heads.text_projection));  // [B,B]
  return contrast_loss(cosine, parts_.heads.temperature, matches,
                       {.label_smoothing = options_.label_smoothing,
                        .clamp_temperature = options_.clamp_temperature});
}

// Draws negatives and computes the pairs.
void Stage1Step::pair_up(const at::Tensor& matches) {
  const Ranks* ranks = options_.ranks;
  const std::int64_t count = batch_.text.texts();
  negatives_ = batch_.negatives
                   ? *batch_.negatives
                   : draw_negatives(contrast_->similarity, matches, seed(kNegativesPurpose));
  check_negatives(negatives_, ranks ? ranks->size() * count : count);
  triplets_ = make_triplets(negatives_, first_, count);
  // Each pair is where its picture is, whose keys and values are there; texts are light to move.
  joint_ = encode_pairs(ranks ? all_gather_texts(*ranks, batch_.text) : batch_.text);
}

// The pairs, in one set of matrix products with the generated texts.
JointStates Stage1Step::encode_pairs(const TextRows& texts) const {
  if (options_.passes.generation) {
    return pass_.encode_joint(parts_.query_tokens, images_, texts, triplets_.pairs,
                              generation_.inputs, generation_.sources, unimodal_.queries);
  }
  return pass_.encode_multimodal(parts_.query_tokens, images_, texts, triplets_.pairs);
}

LanguageKeysValues Stage1Step::language_keys(const LanguageStates& states) const {
  TORCH_CHECK(parts_.language_norm, "states of a language model need their norm");
  return pass_.project_language(states, *parts_.language_norm);
}

std::uint64_t Stage1Step::seed(std::uint64_t purpose) const {
  return derive_seed(options_.compute.seed, purpose);
}

Pairs Stage1Step::own_pairs() const {
  Pairs pairs;
  pairs.images.resize(static_cast<std::size_t>(images_.images()));
  std::iota(pairs.images.begin(), pairs.images.end(), 0);
  pairs.texts = pairs.images;
  return pairs;
}

TokenLoss Stage1Step::word_loss(const QFormerPass& pass, const at::Tensor& hidden,
                                const at::Tensor& words, double label_smoothing) const {
  const GenerationHead& head = parts_.heads.cls;
  return vocabulary_loss(head->transform(hidden), pass.words(), pass.compute_words(),
                         head->predictions->bias, words, label_smoothing);
}

at::Tensor Stage1Step::zero_loss() const {
  return parts_.query_tokens.sum() * 0;
}

}  // namespace blip2
