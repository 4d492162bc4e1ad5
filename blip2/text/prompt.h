#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "blip2/text/tokenizer.h"

namespace blip2 {

// A text for a model. It has two kinds of parts: parts of the model's templates, in which special
// tokens count, and plain parts, which somebody typed or which come from data. A plain value: const
// functions may run on several threads at once.
class Prompt {
 public:
  Prompt() = default;
  Prompt(std::string own) { add_own(own); }  // NOLINT: a template's text is a prompt
  Prompt(const char* own) { add_own(own); }  // NOLINT
  static Prompt plain(std::string_view text);
  // A text that a chat template wrote, with its plain stretches. It has the tokens around a text
  // where the template wants them; encode() adds none.
  static Prompt whole(std::string text, std::vector<TextStretch> plain);

  Prompt& add_own(std::string_view text);
  Prompt& add_plain(std::string_view text);
  Prompt& add(const Prompt& other);

  const std::string& text() const { return text_; }  // valid UTF-8
  PlainText plain_parts() const { return plain_; }
  bool empty() const { return text_.empty(); }
  bool is_whole() const { return whole_; }

  // What a Q-Former that reads prompts gets: the prompt itself unless something else was set.
  const Prompt& instruction() const { return instruction_ ? *instruction_ : *this; }
  void set_instruction(Prompt instruction) {
    instruction_ = std::make_shared<const Prompt>(std::move(instruction));
  }

  std::vector<std::int32_t> encode(const Tokenizer& tokenizer, bool add_special_tokens) const {
    return tokenizer.encode(text_, add_special_tokens && !whole_, plain_);
  }

 private:
  std::string text_;
  std::vector<TextStretch> plain_;
  bool whole_ = false;
  std::shared_ptr<const Prompt> instruction_;
};

// The template with its first {} replaced by `words`; a template without {} stays as it is.
Prompt fill_template(std::string_view pattern, const Prompt& words);

}  // namespace blip2
