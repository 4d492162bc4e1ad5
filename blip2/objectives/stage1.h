#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "blip2/objectives/heads.h"
#include "blip2/objectives/itc.h"
#include "blip2/objectives/itg.h"
#include "blip2/objectives/itm.h"
#include "blip2/qformer/qformer.h"

namespace blip2 {

// B pictures with one text each.
struct Stage1Batch {
  at::Tensor image_embeds;  // [B,P,De] f32 or bf16: features, before `norm` below
  TextRows text;            // B texts, each [CLS] ... [SEP]
  at::Tensor image_ids;     // [B] int64: equal for the same picture
  at::Tensor caption_ids;   // [B] int64: equal for the same caption
  std::optional<Negatives> negatives = std::nullopt;  // given ones instead of drawn ones
};

// The trained parts of stage 1.
struct Stage1Parts {
  const QFormer& qformer;
  const Stage1Heads& heads;
  at::Tensor query_tokens;                         // [1,Q,D]
  std::optional<FeatureNorm> norm = std::nullopt;  // LayerNorm on the features
};

struct Stage1Options {
  ComputeOptions compute;
  std::int64_t decoder_token = -1;  // [DEC]
  double label_smoothing = 0.1;     // of contrast and generation
  bool clamp_temperature = true;
  bool matching = true;  // without it `itm` is 0, at half the cost of a step
};

struct Stage1Loss {
  at::Tensor itc, itm, itg, total;  // []; total is the plain sum
  double itc_accuracy, itm_accuracy, itg_accuracy;
  Negatives negatives;
};

// One step's three losses (arXiv 2301.12597, section 3.2). Hard negatives and dropout are functions
// of options.compute.seed. Throws Error if widths, counts or ids do not fit.
Stage1Loss stage1_loss(const Stage1Parts& parts, const Stage1Batch& batch,
                       const Stage1Options& options);

// What retrieval and matching need of trained parts (no gradient).
// Pictures' unit vectors [I,Q,E] and texts' [N,E], f32.
at::Tensor embed_images(const Stage1Parts& parts, const QFormerPass& pass,
                        const ImageKeysValues& images);
at::Tensor embed_texts(const Stage1Parts& parts, const QFormerPass& pass, const TextRows& text);
// Matching logits [R,2] f32 of the pairs.
at::Tensor match(const Stage1Parts& parts, const QFormerPass& pass, const ImageKeysValues& images,
                 const TextRows& text, const Pairs& pairs);

}  // namespace blip2
