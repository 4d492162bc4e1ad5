#pragma once

#include <span>
#include <string>
#include <vector>

namespace blip2 {

// One step of a tokenizer.json's decoder, which turns a list of strings into another list.
struct DecoderStep {
  enum class Kind {
    replace,        // replaces every `pattern` in each string by `content`
    byte_fallback,  // runs of tokens as "<0x0A>" become the text of their bytes
    fuse,           // joins all strings into one
    strip,          // takes up to `start` and `stop` times `content` off each string's ends
    metaspace,      // `pattern` becomes a space, or "" in the first string with `drops_first`
  };
  Kind kind;
  std::string pattern = {}, content = {};
  int start = 0, stop = 0;
  bool drops_first = true;
};

// The text that the steps make from the tokens.
std::string decode_steps(std::span<const DecoderStep> steps, std::vector<std::string> tokens);

// The byte that a token as "<0x0A>" stands for; -1 for other tokens.
int fallback_byte(const std::string& token);
// The token of a byte: "<0x0A>".
std::string fallback_token(unsigned char byte);

}  // namespace blip2
