#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "blip2/data/batch.h"
#include "blip2/language/frozen_language.h"
#include "blip2/tasks/stage1_objectives.h"
#include "blip2/tasks/text_states.h"
#include "blip2/text/tokenizer.h"

namespace blip2 {

// How a frozen language model reads texts for the Q-Former of stage 1. The tokenizer must outlive
// what is made of it.
struct LanguageReading {
  std::shared_ptr<TextStates> states;
  LanguageConfig config;
  const Tokenizer& tokenizer;
};

// What the language model is given of captions beside the pictures. It reads what the Q-Former
// reads of a caption, decoded and in its own tokens. For MLM a token that stands for anything
// (answer_mask) is in the place of every word that is to be predicted, also of those that the
// Q-Former reads replaced or unchanged; so what the language model is given is a function of the
// other words alone. As its states are kept on disk, a caption is masked in a number of fixed ways,
// of which each step draws one (BERT, arXiv 1810.04805, section A.2, likewise masks its data in ten
// ways beforehand).
class CaptionReads {
 public:
  // `qformer` must outlive the object. Error if MLM needs a token that the tokenizers do not have.
  CaptionReads(LanguageReading reading, const Tokenizer& qformer, const Stage1Setting& setting,
               std::uint64_t seed);

  // Has the states computed that batches of these captions may ask for, in `ways` ways of masking.
  void prepare(const CaptionData& captions, std::int64_t ways);
  // What the objectives with weights above 0 read of a batch; nullopt if they read nothing. Without
  // a step captions are masked in the first way.
  std::optional<Stage1Language> batch(const CaptionBatch& captions,
                                      std::optional<std::int64_t> step,
                                      std::span<const double> weights) const;

  // The language model's tokens of a text of the Q-Former's `ids`, those in `hidden` replaced.
  TokenIds tokens_of(std::span<const std::int32_t> ids, const std::vector<bool>& hidden) const;

 private:
  std::uint64_t mask_seed(std::int64_t caption, std::int64_t way) const;
  // The texts without the words that mask_text chooses by these seeds.
  std::vector<TokenIds> masked_tokens(const TextRows& texts,
                                      std::span<const std::uint64_t> seeds) const;
  std::vector<TokenIds> plain_tokens(const TextRows& texts) const;

  LanguageReading reading_;
  const Tokenizer& qformer_;
  Stage1Setting setting_;
  std::uint64_t seed_;
  TokenIds start_;
  std::int64_t hidden_token_ = -1;
};

}  // namespace blip2
