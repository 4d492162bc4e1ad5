#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

#include "blip2/qformer/text_rows.h"

namespace blip2 {

// Masked language modelling (BERT, arXiv 1810.04805, section 3.1) beside a picture: text and
// queries see each other in both directions, and the head of text generation (`cls`, its matrix the
// word embeddings) names the words that were taken away.
struct WordMasking {
  std::int64_t mask_token = -1;       // [MASK]
  std::int64_t vocabulary = 0;        // random words are ids below it
  std::vector<std::int64_t> special;  // ids that are neither taken away nor put in: [CLS], [SEP], …
  double share = 0.15;                // of a text's tokens; at least one
};

struct MaskedText {
  TextRows inputs;     // the texts with some words replaced
  at::Tensor places;   // [M] int64: rows of the packed texts to predict, rising
  at::Tensor targets;  // [M] int64: the words that stand there in truth
};

// Chooses words of each text: as many as the share of its length (special tokens counted, as BERT
// does) rounds to, at least one, at most all that are not special. 80 % become [MASK], 10 % a
// random word, 10 % stay. A function of the text, its place among the texts (the first has the
// place `first_text`), and the seed. Error if
// [MASK] is not in the vocabulary or the share is outside (0, 1].
MaskedText mask_text(const TextRows& text, const WordMasking& masking, std::uint64_t seed,
                     std::int64_t first_text = 0);

}  // namespace blip2
