#include "blip2/objectives/stage1.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "blip2/base/error.h"
#include "blip2/base/random.h"
#include "blip2/nn/tensor_bridge.h"
#include "blip2/objectives/shared_batch.h"

namespace blip2 {
namespace {

// The purposes of a step's seed beside the dropout of the passes.
enum : std::uint64_t { kNegativesPurpose = 7, kWordsPurpose, kRegionsPurpose, kRankPurpose };

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

// Ids of all processes' rows.
at::Tensor gather_ids(const Ranks* ranks, const at::Tensor& ids) {
  return ranks ? ranks->gather(ids) : ids;
}

bool has_negatives(const Negatives& negatives) {
  const auto any = [](const std::vector<std::int64_t>& drawn) {
    return std::any_of(drawn.begin(), drawn.end(), [](std::int64_t place) { return place >= 0; });
  };
  return any(negatives.images) || any(negatives.texts);
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

// One step; the pictures' keys and values are computed once for all its objectives.
class Step {
 public:
  Step(const Stage1Parts& parts, const Stage1Batch& batch, const Stage1Options& options)
      : parts_(parts),
        batch_(batch),
        options_(options),
        pass_(parts.qformer.pass(own_compute(options))),
        images_(project(parts, pass_, batch.image_embeds)),
        first_(options.ranks ? options.ranks->rank() * batch.text.texts() : 0) {}

  Stage1Loss run() const {
    const Stage1Objectives& wanted = options_.objectives;
    Stage1Loss losses;
    losses.itc = losses.itm = losses.itg = losses.mlm = losses.mrm = at::zeros({});
    if (wanted.itc || wanted.itm || wanted.itg) represent(losses);
    if (wanted.mlm) mask_words(losses);
    if (wanted.mrm) mask_regions(losses);
    const Stage1Shares& shares = losses.shares;
    losses.total = shares.itc * losses.itc + shares.itm * losses.itm + shares.itg * losses.itg;
    if (wanted.mlm) losses.total = losses.total + shares.mlm * losses.mlm;
    if (wanted.mrm) losses.total = losses.total + shares.mrm * losses.mrm;
    return losses;
  }

 private:
  // Contrast, matching and generation, which share passes.
  void represent(Stage1Loss& losses) const {
    const Stage1Objectives& wanted = options_.objectives;
    const QFormerPass::ApartStates apart = see_apart();
    losses.queries = apart.queries.hidden;
    const at::Tensor matches = matching_pairs(gather_ids(options_.ranks, batch_.image_ids),
                                              gather_ids(options_.ranks, batch_.caption_ids));
    at::Tensor similarity;
    if (apart.first_tokens.defined()) {
      const ContrastLoss contrast = compare(apart, matches);
      similarity = contrast.similarity;
      if (wanted.itc) {
        losses.itc = contrast.loss;
        if (options_.ranks) losses.shares.itc = 1.0 / options_.ranks->size();
        losses.itc_accuracy = contrast.accuracy;
      }
    }
    GenerationText text;
    if (wanted.itg) text = generation_text(batch_.text, options_.decoder_token);
    at::Tensor generated;
    if (wanted.itm) {
      generated = match_pairs(losses, apart, text, similarity, matches);
    } else if (!text.sources.empty()) {
      generated = pass_.generate_text(text.inputs, text.sources, apart.queries);
    }
    if (generated.defined()) {
      generate(losses, generated, text);
    } else if (wanted.itg) {
      losses.itg = nothing();
    }
    if (wanted.itg) losses.shares.itg = share_of(options_.ranks, text.targets.numel());
  }

  // Queries alone, and text alone where somebody asks for it.
  QFormerPass::ApartStates see_apart() const {
    const Stage1Objectives& wanted = options_.objectives;
    // Matching alone only draws its negatives by what is seen here.
    const at::AutoGradMode gradients(at::GradMode::is_enabled() && (wanted.itc || wanted.itg));
    const bool contrast = wanted.itc || (wanted.itm && !batch_.negatives);
    if (contrast) return pass_.encode_apart(parts_.query_tokens, images_, batch_.text);
    if (wanted.itg) return {pass_.encode_queries(parts_.query_tokens, images_), {}};
    return {};
  }

  ContrastLoss compare(const QFormerPass::ApartStates& apart, const at::Tensor& matches) const {
    const at::Tensor cosine =
        best_cosine(all_unit_vectors(apart.queries.hidden, parts_.heads.vision_projection),
                    all_unit_vectors(apart.first_tokens, parts_.heads.text_projection));  // [B,B]
    return contrast_loss(cosine, parts_.heads.temperature, matches,
                         {.label_smoothing = options_.label_smoothing,
                          .clamp_temperature = options_.clamp_temperature});
  }

  // Matching, in one set of matrix products with the generated texts: their hidden states.
  at::Tensor match_pairs(Stage1Loss& losses, const QFormerPass::ApartStates& apart,
                         const GenerationText& text, const at::Tensor& similarity,
                         const at::Tensor& matches) const {
    const Ranks* ranks = options_.ranks;
    const std::int64_t count = batch_.text.texts();
    const Negatives all =
        batch_.negatives ? *batch_.negatives
                         : draw_negatives(similarity, matches, purpose_seed(kNegativesPurpose));
    check_negatives(all, ranks ? ranks->size() * count : count);
    losses.negatives = all;
    // Each pair is where its picture is, whose keys and values are there; texts are light to move.
    const TextRows texts = ranks ? gather_texts(*ranks, batch_.text) : batch_.text;
    const Triplets triplets = make_triplets(all, first_, count);
    losses.shares.itm = share_of(ranks, triplets.labels.numel());
    const JointStates joint =
        options_.objectives.itg
            ? pass_.encode_joint(parts_.query_tokens, images_, texts, triplets.pairs, text.inputs,
                                 text.sources, apart.queries)
            : pass_.encode_multimodal(parts_.query_tokens, images_, texts, triplets.pairs);
    const MatchingLoss matching =
        matching_loss(matching_logits(joint.queries, parts_.heads.itm_head), triplets.labels,
                      /*others_differ=*/has_negatives(all));
    losses.itm = matching.loss;
    losses.itm_accuracy = matching.accuracy;
    return joint.generated;
  }

  void generate(Stage1Loss& losses, const at::Tensor& hidden, const GenerationText& text) const {
    const TokenLoss tokens = name_words(pass_, hidden, text.targets, options_.label_smoothing);
    losses.itg = tokens.loss;
    losses.itg_accuracy = tokens.accuracy;
  }

  void mask_words(Stage1Loss& losses) const {
    losses.masked = mask_text(batch_.text, options_.words, purpose_seed(kWordsPurpose), first_);
    losses.shares.mlm = share_of(options_.ranks, losses.masked.targets.numel());
    if (losses.masked.targets.numel() == 0) {
      losses.mlm = nothing();
      return;
    }
    const QFormerPass pass = pass_.reseeded(kWordsPurpose);
    const JointStates joint =
        pass.encode_multimodal(parts_.query_tokens, images_, losses.masked.inputs, own_pairs(),
                               /*with_text=*/true);
    const TokenLoss words = name_words(pass, joint.text.index_select(0, losses.masked.places),
                                       losses.masked.targets, /*label_smoothing=*/0);
    losses.mlm = words.loss;
    losses.mlm_accuracy = words.accuracy;
  }

  void mask_regions(Stage1Loss& losses) const {
    losses.regions = hide_regions(images_.images, images_.positions, parts_.query_tokens.size(1),
                                  options_.region_share, purpose_seed(kRegionsPurpose), first_);
    losses.shares.mrm = share_of(options_.ranks, losses.regions.hidden.numel());
    const JointStates joint =
        pass_.reseeded(kRegionsPurpose)
            .encode_multimodal(parts_.query_tokens, visible_part(images_, losses.regions),
                               batch_.text, own_pairs());
    const TokenLoss regions = region_loss(joint.queries, images_, losses.regions);
    losses.mrm = regions.loss;
    losses.mrm_accuracy = regions.accuracy;
  }

  // The head of generation on hidden states [N,D] against words [N].
  TokenLoss name_words(const QFormerPass& pass, const at::Tensor& hidden, const at::Tensor& words,
                       double label_smoothing) const {
    const GenerationHead& head = parts_.heads.cls;
    return vocabulary_loss(head->transform(hidden), pass.words(), pass.compute_words(),
                           head->predictions->bias, words, label_smoothing);
  }

  at::Tensor all_unit_vectors(const at::Tensor& hidden, const torch::nn::Linear& projection) const {
    return gather_trained(options_.ranks, unit_vectors(hidden, projection));
  }

  // The loss of an objective that finds nothing to predict in this batch.
  at::Tensor nothing() const { return parts_.query_tokens.sum() * 0; }

  // Each picture with its own text.
  Pairs own_pairs() const {
    Pairs pairs;
    pairs.images.resize(static_cast<std::size_t>(images_.images));
    std::iota(pairs.images.begin(), pairs.images.end(), 0);
    pairs.texts = pairs.images;
    return pairs;
  }

  std::uint64_t purpose_seed(std::uint64_t purpose) const {
    return derive_seed(options_.compute.seed, purpose);
  }

  const Stage1Parts& parts_;
  const Stage1Batch& batch_;
  const Stage1Options& options_;
  QFormerPass pass_;
  ImageKeysValues images_;
  std::int64_t first_;  // of the own rows in the batch of all processes
};

}  // namespace

Stage1Loss stage1_loss(const Stage1Parts& parts, const Stage1Batch& batch,
                       const Stage1Options& options) {
  check_batch(batch);
  return Step(parts, batch, options).run();
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
