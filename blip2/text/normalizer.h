#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "blip2/text/charsmap.h"

namespace blip2 {

// One step of a tokenizer.json's normaliser.
struct NormalizerStep {
  enum class Kind {
    nfc,
    lower_case,
    prepend,         // `content` before a text that is not empty
    replace,         // every `pattern` by `content`
    replace_spaces,  // every run of at least two spaces by `content`
    replace_white,   // every run of white space by `content`
    strip,           // white space at the ends
    charsmap,        // SentencePiece's precompiled map
  };
  Kind kind;
  std::string pattern = {}, content = {};
  bool left = true, right = true;  // which ends are stripped
  std::shared_ptr<const Charsmap> charsmap = nullptr;
};

// Valid UTF-8 through the steps, in order.
std::string normalize(std::span<const NormalizerStep> steps, std::string_view text);

}  // namespace blip2
