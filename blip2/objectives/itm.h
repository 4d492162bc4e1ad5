#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

#include "blip2/qformer/pass.h"

namespace blip2 {

// A hard negative for each text and each picture; -1 if all its pairs match.
struct Negatives {
  std::vector<std::int64_t> images;  // for each text
  std::vector<std::int64_t> texts;   // for each picture

  bool any() const;  // whether there is at least one negative
};

// Draws negatives from softmax(similarity) over the pairs that do not match, for texts and for
// pictures. Similarity [B,B] f32, rows are pictures; matches [B,B] bool. The draw is a function of
// the arguments.
Negatives draw_negatives(const at::Tensor& similarity, const at::Tensor& matches,
                         std::uint64_t seed);

// The pairs of the matching objective: (picture, its text), which match, then (negative picture,
// text) and (picture, negative text), which do not match. A row without a negative has only its
// matching pair.
struct Triplets {
  Pairs pairs;
  at::Tensor labels;  // [R] int64; 1: the pair matches
};
Triplets make_triplets(const Negatives& negatives);
// The pairs whose picture is one of the `count` pictures from `first` on, so that each pair of a
// batch is in the share of one process. Picture indices count from `first`, text indices in the
// whole batch.
Triplets make_triplets(const Negatives& negatives, std::int64_t first, std::int64_t count);

struct MatchingLoss {
  at::Tensor loss;    // []; zero if no row has a negative
  at::Tensor logits;  // [R,2] f32
  double accuracy;
};

// `others_differ`: the batch of all processes has a pair that does not match, so the loss counts
// even if all labels here are 1.
MatchingLoss matching_loss(const at::Tensor& logits, const at::Tensor& labels,
                           bool others_differ = false);

}  // namespace blip2
