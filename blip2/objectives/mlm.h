#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <span>
#include <vector>

#include "blip2/qformer/text_rows.h"

namespace blip2 {

// Masked language modelling (BERT, arXiv 1810.04805, section 3.1) beside a picture: text and
// queries see each other in both directions, and the head of text generation (`cls`, whose matrix
// is the word embeddings) predicts the masked words.
struct WordMasking {
  std::int64_t mask_token = -1;       // [MASK]
  std::int64_t vocabulary = 0;        // random words are drawn from the ids below it
  std::vector<std::int64_t> special;  // ids never masked and never drawn: [CLS], [SEP], …
  double share = 0.15;                // share of a text's tokens to mask; at least one is
};

struct MaskedText {
  TextRows inputs;     // the texts with some words replaced
  at::Tensor places;   // [M] int64: packed rows to predict, in rising order
  at::Tensor targets;  // [M] int64: the original words there
};

// Chooses words of each text at random. Their number is `share` times the text's length (special
// tokens counted, as in BERT), rounded, at least one and at most all words that are not special. Of
// the chosen words 80 % become [MASK], 10 % become a random word and 10 % stay. The choice is a
// function of the text, its place among the texts (the first text has the place `first_text`) and
// the seed. Error if [MASK] is not in the vocabulary or the share is outside (0, 1].
MaskedText mask_text(const TextRows& text, const WordMasking& masking, std::uint64_t seed,
                     std::int64_t first_text = 0);
// The same with a seed for each text. Which words of a text are chosen does not depend on them, but
// on its seed, its length and the places of special tokens.
MaskedText mask_text(const TextRows& text, const WordMasking& masking,
                     std::span<const std::uint64_t> seeds);

}  // namespace blip2
