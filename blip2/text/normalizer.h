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
    prepend,         // puts `content` before a text that is not empty
    replace,         // replaces every `pattern` by `content`
    replace_spaces,  // replaces every run of at least two spaces by `content`
    replace_white,   // replaces every run of white space by `content`
    strip,           // takes white space off the ends
    charsmap,        // applies SentencePiece's precompiled map
  };
  Kind kind;
  std::string pattern = {}, content = {};
  bool left = true, right = true;  // which ends are stripped
  std::shared_ptr<const Charsmap> charsmap = nullptr;
};

// Applies the steps to valid UTF-8, in order.
std::string normalize(std::span<const NormalizerStep> steps, std::string_view text);

}  // namespace blip2
