#include "blip2/text/normalizer.h"

#include <algorithm>

#include "blip2/text/unicode.h"

namespace blip2 {
namespace {

std::string replace_all(std::string_view text, std::string_view pattern, std::string_view content) {
  std::string out;
  for (std::size_t at; (at = text.find(pattern)) != std::string_view::npos;) {
    out.append(text.substr(0, at));
    append_replacement(out, content);
    text.remove_prefix(at + pattern.size());
  }
  return out.append(text);
}

std::string replace_spaces(std::string_view text, std::string_view content) {
  std::string out;
  while (!text.empty()) {
    const std::size_t spaces = std::min(text.find_first_not_of(' '), text.size());
    if (spaces >= 2) {
      append_replacement(out, content);
    } else {
      out.append(spaces, ' ');
    }
    text.remove_prefix(spaces);
    const std::size_t words = std::min(text.find(' '), text.size());
    out.append(text.substr(0, words));
    text.remove_prefix(words);
  }
  return out;
}

std::string replace_white(std::string_view text, std::string_view content) {
  std::string out;
  for (bool in_run = false; !text.empty();) {
    const CodePoint c = decode_utf8(text);
    const bool white = is_whitespace(c.value);
    if (!white) {
      out.append(text.substr(0, c.bytes));
    } else if (!in_run) {
      append_replacement(out, content);
    }
    in_run = white;
    text.remove_prefix(c.bytes);
  }
  return out;
}

std::string strip(std::string_view text, bool left, bool right) {
  std::size_t begin = text.size(), end = 0;
  for (std::size_t at = 0; at < text.size();) {
    const CodePoint c = decode_utf8(text.substr(at));
    if (!is_whitespace(c.value)) begin = std::min(begin, at), end = at + c.bytes;
    at += c.bytes;
  }
  if (!left) begin = 0;
  if (!right) end = text.size();
  return std::string(begin < end ? text.substr(begin, end - begin) : std::string_view());
}

std::string run_step(const NormalizerStep& step, std::string_view text) {
  using Kind = NormalizerStep::Kind;
  switch (step.kind) {
    case Kind::nfc:
      return compose(text);
    case Kind::lower_case:
      return to_lower(text);
    case Kind::prepend:
      return text.empty() ? std::string() : step.content + std::string(text);
    case Kind::replace:
      return replace_all(text, step.pattern, step.content);
    case Kind::replace_spaces:
      return replace_spaces(text, step.content);
    case Kind::replace_white:
      return replace_white(text, step.content);
    case Kind::strip:
      return strip(text, step.left, step.right);
    case Kind::charsmap:
      return step.charsmap->normalize(text);
  }
  return std::string(text);
}

}  // namespace

std::string normalize(std::span<const NormalizerStep> steps, std::string_view text) {
  std::string out(text);
  for (const NormalizerStep& step : steps) out = run_step(step, out);
  return out;
}

}  // namespace blip2
