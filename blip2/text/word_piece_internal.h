#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "blip2/text/tokenizer_definition.h"
#include "blip2/text/vocabulary.h"

namespace blip2 {

// BERT's text clean-up and WordPiece (Wu et al. 2016; google-research/bert, tokenization.py).
class WordPieceEncoder {
 public:
  // `pieces` by id. Throws Error if the unknown token is not among them.
  WordPieceEncoder(const WordPieceModel& model, std::span<const std::string> pieces);

  // Normalises valid UTF-8: removes control characters, turns white space into spaces, puts spaces
  // around CJK characters, strips accents and lowers case, as the model's flags say.
  std::string normalize(std::string_view text) const;
  // Appends the ids of normalised text that holds no added token.
  void encode(std::string_view text, std::vector<std::int32_t>& ids) const;

 private:
  void encode_word(std::string_view word, std::vector<std::int32_t>& ids) const;

  WordPieceModel model_;
  std::int32_t unknown_;
  TokenIds starts_, continuations_;  // whole tokens; tokens without their prefix
  std::size_t longest_ = 0;          // bytes of the longest token
};

// Joins WordPiece tokens: a space stands before each token except the first one and tokens with the
// prefix. With clean_up no space stands before punctuation and contractions, decided token by token
// as `tokenizers` does it.
std::string join_word_pieces(std::span<const std::string> tokens, const DecoderOptions& options);
// Applies transformers' clean_up_tokenization to a whole text.
std::string clean_up_tokenization(std::string text);

}  // namespace blip2
