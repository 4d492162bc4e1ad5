#include "blip2/tasks/text_states.h"

#include <utility>

namespace blip2 {

TextStates::TextStates(TextReader read, at::ScalarType storage)
    : read_(std::move(read)), storage_(storage) {}

TextStates::TextStates(TextStateCache cache, std::function<TextReader()> open,
                       EnsureOptions options)
    : cache_(std::move(cache)), open_(std::move(open)), options_(std::move(options)) {}

void TextStates::prepare(std::span<const TokenIds> texts) {
  if (cache_) cache_->ensure(texts, open_, options_);
}

LanguageStates TextStates::of(std::span<const TokenIds> texts) const {
  if (cache_) return cache_->gather(texts);
  LanguageStates states{read_(texts).to(storage_), {}};
  for (const TokenIds& text : texts) states.lengths.push_back(std::ssize(text));
  return states;
}

}  // namespace blip2
