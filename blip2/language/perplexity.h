#pragma once

#include <cstdint>
#include <span>

#include "blip2/language/frozen_language.h"

namespace blip2 {

// How a text is cut for a decoder that reads it.
struct TextWindows {
  std::int64_t tokens = 512;                 // of a window; the last one has those that are left
  std::int64_t rows = 1;                     // windows that are read side by side
  std::span<const std::int32_t> begin = {};  // the tokens with which every window begins
};

// How well a decoder predicts a text.
struct TextLoss {
  double nats = 0;             // the sum of the losses
  std::int64_t predicted = 0;  // tokens

  double perplexity() const;
};

// Predicts each token of a text from those before it in its window, one at a time, by sessions as
// texts are written. A window's first token is given, not predicted. Decoder-only models. Throws
// Interrupted after a signal, and Error if nothing is left to predict, or if windows are longer
// than the model's learned positions or no longer than their beginning.
TextLoss text_loss(const FrozenLanguage& language, std::span<const std::int32_t> text,
                   const TextWindows& windows);

}  // namespace blip2
