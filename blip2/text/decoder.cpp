#include "blip2/text/decoder.h"

#include <charconv>

#include "blip2/text/normalizer.h"
#include "blip2/text/unicode.h"

namespace blip2 {
namespace {

using Tokens = std::vector<std::string>;

void replace(const DecoderStep& step, std::string_view content, std::string& token) {
  const NormalizerStep replaces{
      NormalizerStep::Kind::replace, step.pattern, std::string(content), true, true, nullptr};
  token = normalize(std::span(&replaces, 1), token);
}

// Bytes that are not UTF-8 as a whole become U+FFFD each.
void flush(std::string& bytes, Tokens& out) {
  if (bytes.empty()) return;
  if (to_valid_utf8(bytes) == bytes) {
    out.push_back(bytes);
  } else {
    out.insert(out.end(), bytes.size(), "\ufffd");
  }
  bytes.clear();
}

Tokens byte_fallback(const Tokens& tokens) {
  Tokens out;
  std::string bytes;
  for (const std::string& token : tokens) {
    const int byte = fallback_byte(token);
    if (byte >= 0) {
      bytes += static_cast<char>(byte);
      continue;
    }
    flush(bytes, out);
    out.push_back(token);
  }
  flush(bytes, out);
  return out;
}

Tokens fuse(const Tokens& tokens) {
  std::string all;
  for (const std::string& token : tokens) all += token;
  return {all};
}

void strip(const DecoderStep& step, std::string& token) {
  std::string_view rest = token;
  for (int i = 0; i < step.start && rest.starts_with(step.content); ++i) {
    rest.remove_prefix(step.content.size());
  }
  for (int i = 0; i < step.stop && rest.ends_with(step.content); ++i) {
    rest.remove_suffix(step.content.size());
  }
  token = std::string(rest);
}

void run_step(const DecoderStep& step, Tokens& tokens) {
  using Kind = DecoderStep::Kind;
  if (step.kind == Kind::byte_fallback) {
    tokens = byte_fallback(tokens);
  } else if (step.kind == Kind::fuse) {
    tokens = fuse(tokens);
  } else {
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      if (step.kind == Kind::strip) {
        strip(step, tokens[i]);
      } else if (step.kind == Kind::replace) {
        replace(step, step.content, tokens[i]);
      } else {
        replace(step, i == 0 && step.drops_first ? "" : " ", tokens[i]);
      }
    }
  }
}

}  // namespace

int fallback_byte(const std::string& token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return -1;
  int byte = -1;
  const char* begin = token.data() + (token[3] == '+' ? 4 : 3);
  const auto [end, failed] = std::from_chars(begin, token.data() + 5, byte, 16);
  return failed == std::errc() && end == token.data() + 5 && *begin != '-' ? byte : -1;
}

std::string fallback_token(unsigned char byte) {
  constexpr const char* digits = "0123456789ABCDEF";
  return {'<', '0', 'x', digits[byte >> 4], digits[byte & 15], '>'};
}

std::string decode_steps(std::span<const DecoderStep> steps, Tokens tokens) {
  for (const DecoderStep& step : steps) run_step(step, tokens);
  std::string text;
  for (const std::string& token : tokens) text += token;
  return text;
}

}  // namespace blip2
