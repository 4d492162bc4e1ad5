#include "blip2/text/prompt.h"

#include "blip2/text/unicode.h"

namespace blip2 {

Prompt Prompt::plain(std::string_view text) {
  return Prompt().add_plain(text);
}

Prompt Prompt::whole(std::string text, std::vector<TextStretch> plain) {
  Prompt prompt;
  prompt.text_ = std::move(text);
  prompt.plain_ = std::move(plain);
  prompt.whole_ = true;
  return prompt;
}

Prompt& Prompt::add_own(std::string_view text) {
  text_ += to_valid_utf8(text);
  return *this;
}

Prompt& Prompt::add_plain(std::string_view text) {
  const std::size_t begin = text_.size();
  text_ += to_valid_utf8(text);
  if (begin < text_.size()) plain_.push_back({begin, text_.size()});
  return *this;
}

Prompt& Prompt::add(const Prompt& other) {
  const std::size_t before = text_.size();
  text_ += other.text_;
  for (const TextStretch& s : other.plain_) plain_.push_back({before + s.begin, before + s.end});
  return *this;
}

Prompt fill_template(std::string_view pattern, const Prompt& words) {
  const auto place = pattern.find("{}");
  if (place == std::string_view::npos) return Prompt().add_own(pattern);
  return Prompt().add_own(pattern.substr(0, place)).add(words).add_own(pattern.substr(place + 2));
}

}  // namespace blip2
