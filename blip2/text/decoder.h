#pragma once

#include <span>
#include <string>
#include <vector>

namespace blip2 {

// One step of a tokenizer.json's decoder: from a list of strings to another.
struct DecoderStep {
  enum class Kind {
    replace,        // every `pattern` in each string by `content`
    byte_fallback,  // runs of "<0x0A>" become the text of the bytes
    fuse,           // all become one string
    strip,          // up to `start` and `stop` times `content` off each string's ends
    metaspace,      // `pattern` becomes a space, nothing in the first string if `drops_first`
  };
  Kind kind;
  std::string pattern = {}, content = {};
  int start = 0, stop = 0;
  bool drops_first = true;
};

// The text that the steps make of the tokens.
std::string decode_steps(std::span<const DecoderStep> steps, std::vector<std::string> tokens);

// The byte of "<0x0A>", or -1.
int fallback_byte(const std::string& token);
// "<0x0A>" of the byte.
std::string fallback_token(unsigned char byte);

}  // namespace blip2
