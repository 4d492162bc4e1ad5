#include "blip2/model/written_text.h"

#include <algorithm>

namespace blip2 {
namespace {

constexpr std::string_view kSpace = " \t\r\n\v\f\x1c\x1d\x1e\x1f";

}  // namespace

std::size_t first_stop(std::string_view text, std::span<const std::string> stops) {
  std::size_t first = std::string_view::npos;
  for (const std::string& stop : stops) first = std::min(first, text.find(stop));
  return first;
}

std::string_view stripped(std::string_view text) {
  const auto first = text.find_first_not_of(kSpace);
  if (first == text.npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

bool is_stripped(char c) {
  return kSpace.find(c) != kSpace.npos;
}

std::string written_text(const Tokenizer& tokenizer, std::span<const std::int32_t> tokens,
                         std::span<const std::string> stops) {
  const std::string text = tokenizer.decode(tokens);
  return std::string(stripped(std::string_view(text).substr(0, first_stop(text, stops))));
}

}  // namespace blip2
