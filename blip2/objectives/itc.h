#pragma once

#include <torch/torch.h>

namespace blip2 {

struct ContrastOptions {
  double label_smoothing = 0.1;
  bool clamp_temperature = true;  // to [0.001, 0.5], as ALBEF and BLIP do; LAVIS's BLIP-2 does not
};

struct ContrastLoss {
  at::Tensor loss;        // []
  at::Tensor similarity;  // [B,B] cosine / temperature, rows are pictures
  double accuracy;        // share of rows and columns whose largest similarity is a matching pair
};

// The pairs that match because picture or caption is the same: ids [B] int64 -> [B,B] bool.
at::Tensor matching_pairs(const at::Tensor& image_ids, const at::Tensor& caption_ids);

// Image-text contrast (arXiv 2301.12597, section 3.2) with in-batch negatives: the mean of both
// directions' losses. Targets are spread equally over a row's matching pairs, then smoothed.
// Cosines [B,B], rows are pictures; temperature []; matches [B,B] bool. Throws Error if shapes
// disagree.
ContrastLoss contrast_loss(const at::Tensor& cosine, const at::Tensor& temperature,
                           const at::Tensor& matches, const ContrastOptions& options = {});

}  // namespace blip2
