#include "blip2/serving/text_stream_internal.h"

#include <algorithm>

#include "blip2/base/error.h"
#include "blip2/model/written_text.h"
#include "blip2/text/decoder.h"

namespace blip2 {
namespace {

constexpr std::string_view kUnknown = "\ufffd";  // also what an incomplete character decodes to

// Whether the text could go on to a stop string that begins at `at`.
bool may_stop(std::string_view text, std::size_t at, const std::vector<std::string>& stops) {
  const std::string_view rest = text.substr(at);
  return std::any_of(stops.begin(), stops.end(), [&](const std::string& stop) {
    return std::string_view(stop).starts_with(rest);
  });
}

}  // namespace

std::span<const std::int32_t> TextStream::certain(std::span<const std::int32_t> tokens) const {
  // A run of bytes is a text or U+FFFD as a whole, and special tokens within it are skipped.
  const auto changes = [&](std::int32_t id) {
    if (id < 0 || id >= tokenizer_->size()) return true;
    return fallback_byte(tokenizer_->piece(id)) >= 0 ||
           tokenizer_->decode(std::span(&id, 1)).empty();
  };
  while (!tokens.empty() && changes(tokens.back())) tokens = tokens.first(tokens.size() - 1);
  return tokens;
}

std::size_t TextStream::certain_end(std::string_view text) const {
  while (text.ends_with(kUnknown)) text.remove_suffix(kUnknown.size());
  std::size_t longest = 0;
  for (const std::string& stop : *stops_) longest = std::max(longest, stop.size() - 1);
  std::size_t end = text.size();
  for (std::size_t at = text.size() - std::min(longest, text.size()); at < end; ++at) {
    if (may_stop(text, at, *stops_)) end = at;
  }
  while (end > 0) {
    const std::string_view kept = text.substr(0, end);
    if (is_stripped(kept.back())) {
      --end;
    } else if (kept.ends_with(kUnknown)) {
      end -= kUnknown.size();
    } else {
      break;
    }
  }
  return end;
}

std::string TextStream::more(std::span<const std::int32_t> tokens) {
  const std::string decoded = tokenizer_->decode(certain(tokens));
  const std::string_view text = stripped(std::string_view(decoded).substr(0, certain_end(decoded)));
  if (text.size() <= given_.size() || !text.starts_with(given_)) return "";
  std::string piece(text.substr(given_.size()));
  given_ += piece;
  return piece;
}

std::string TextStream::rest(const std::string& text) {
  if (!text.starts_with(given_)) {
    throw Error("a text changed after its beginning was handed out", "tokenizer");
  }
  std::string piece = text.substr(given_.size());
  given_ = text;
  return piece;
}

}  // namespace blip2
