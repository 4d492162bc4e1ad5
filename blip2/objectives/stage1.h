#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "blip2/nn/ranks.h"
#include "blip2/objectives/heads.h"
#include "blip2/objectives/itc.h"
#include "blip2/objectives/itg.h"
#include "blip2/objectives/itm.h"
#include "blip2/objectives/mlm.h"
#include "blip2/objectives/mrm.h"
#include "blip2/qformer/qformer.h"

namespace blip2 {

// B pictures with one text each; with ranks, this process's share of a batch of R times as many.
struct Stage1Batch {
  at::Tensor image_embeds;  // [B,P,De] f32 or bf16: features, before `norm` below
  TextRows text;            // B texts, each [CLS] ... [SEP]
  at::Tensor image_ids;     // [B] int64: equal for the same picture
  at::Tensor caption_ids;   // [B] int64: equal for the same caption
  // Given ones instead of drawn ones, for the batch of all processes.
  std::optional<Negatives> negatives = std::nullopt;
};

// The trained parts of stage 1.
struct Stage1Parts {
  const QFormer& qformer;
  const Stage1Heads& heads;
  at::Tensor query_tokens;                  // [1,Q,D]
  std::optional<Norm> norm = std::nullopt;  // LayerNorm on the features
};

// The objectives that a step computes: the paper's three (arXiv 2301.12597, section 3.2), and those
// that hide words or parts of the picture.
struct Stage1Objectives {
  bool itc = true, itm = true, itg = true, mlm = false, mrm = false;
};

struct Stage1Options {
  ComputeOptions compute;
  std::int64_t decoder_token = -1;  // [DEC]
  double label_smoothing = 0.1;     // of contrast and generation
  bool clamp_temperature = true;
  Stage1Objectives objectives = {};
  WordMasking words = {};      // of MLM
  double region_share = 0.15;  // of the picture's positions that MRM hides
  // Contrast and negatives reach over the batches of all processes.
  const Ranks* ranks = nullptr;
};

// How much an objective's loss on this process counts: over all processes these sum to 1, and the
// losses times these to the loss of the batches put together. All 1 without ranks.
struct Stage1Shares {
  double itc = 1, itm = 1, itg = 1, mlm = 1, mrm = 1;
};

// The losses of objectives that were not computed are 0 without a gradient, their accuracies 0.
struct Stage1Loss {
  at::Tensor itc, itm, itg, mlm, mrm;  // []
  at::Tensor total;                    // []: their sum, each times its share
  Stage1Shares shares;
  at::Tensor queries;  // [B,Q,D] of the queries alone; undefined if no objective asked for them
  double itc_accuracy = 0, itm_accuracy = 0, itg_accuracy = 0, mlm_accuracy = 0, mrm_accuracy = 0;
  // What was drawn for the objectives computed; negatives are those of all processes.
  Negatives negatives;
  MaskedText masked;
  HiddenRegions regions;
};

// One step's losses. What is drawn and dropout are functions of options.compute.seed. Throws Error
// if widths, counts or ids do not fit.
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
