#include "blip2/evaluation/python_text_internal.h"

#include "blip2/text/unicode.h"

namespace blip2 {

std::vector<std::string_view> split_words(std::string_view text) {
  std::vector<std::string_view> words;
  std::size_t begin = 0;
  for (std::size_t at = 0; at < text.size();) {
    if (text[at] > ' ' && text[at] <= '~') {
      ++at;
      continue;
    }
    const CodePoint c = decode_utf8(text.substr(at));
    if (is_python_space(c.value)) {
      if (at > begin) words.push_back(text.substr(begin, at - begin));
      begin = at + c.bytes;
    }
    at += c.bytes;
  }
  if (begin < text.size()) words.push_back(text.substr(begin));
  return words;
}

std::string_view strip_right(std::string_view text) {
  while (!text.empty()) {
    std::size_t last = text.size() - 1;
    while (last > 0 && (static_cast<unsigned char>(text[last]) & 0xc0) == 0x80) --last;
    if (!is_python_space(decode_utf8(text.substr(last)).value)) break;
    text = text.substr(0, last);
  }
  return text;
}

std::string_view strip(std::string_view text) {
  text = strip_right(text);
  while (!text.empty()) {
    const CodePoint c = decode_utf8(text);
    if (!is_python_space(c.value)) break;
    text.remove_prefix(c.bytes);
  }
  return text;
}

}  // namespace blip2
