#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>

#include "blip2/data/text_state_cache.h"

namespace blip2 {

// A frozen language model's states of texts for a Q-Former that reads them: kept on disk, or read
// when they are asked for. For one thread at a time.
class TextStates {
 public:
  // Reads texts when they are asked for. `storage`: the type of the states.
  TextStates(TextReader read, at::ScalarType storage);
  // Keeps them in `cache`; `open` gives the model, which is needed only for what is missing there.
  TextStates(TextStateCache cache, std::function<TextReader()> open, EnsureOptions options);

  // Computes what is missing of texts that will be asked for, if they are kept.
  void prepare(std::span<const TokenIds> texts);
  // The states of texts; of kept ones only those that were prepared.
  LanguageStates of(std::span<const TokenIds> texts) const;

 private:
  TextReader read_;
  at::ScalarType storage_ = at::kFloat;
  std::optional<TextStateCache> cache_;
  std::function<TextReader()> open_;
  EnsureOptions options_;
};

}  // namespace blip2
