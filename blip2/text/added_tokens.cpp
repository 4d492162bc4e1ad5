#include "blip2/text/added_tokens_internal.h"

#include <algorithm>

#include "blip2/base/error.h"
#include "blip2/text/unicode.h"

namespace blip2 {
namespace {

CodePoint last_code_point(std::string_view text) {
  std::size_t start = text.size() - 1;
  while (start > 0 && (static_cast<unsigned char>(text[start]) & 0xc0) == 0x80) --start;
  return decode_utf8(text.substr(start));
}

bool inside_word(std::string_view before, std::string_view behind) {
  return (!before.empty() && is_word(last_code_point(before).value)) ||
         (!behind.empty() && is_word(decode_utf8(behind).value));
}

std::size_t trailing_space(std::string_view text) {
  const std::size_t size = text.size();
  while (!text.empty()) {
    const CodePoint c = last_code_point(text);
    if (!is_whitespace(c.value)) break;
    text.remove_suffix(c.bytes);
  }
  return size - text.size();
}

std::size_t leading_space(std::string_view text) {
  const std::size_t size = text.size();
  while (!text.empty()) {
    const CodePoint c = decode_utf8(text);
    if (!is_whitespace(c.value)) break;
    text.remove_prefix(c.bytes);
  }
  return size - text.size();
}

}  // namespace

bool reaches_into(PlainText stretches, std::size_t begin, std::size_t end) {
  return std::ranges::any_of(stretches,
                             [&](const TextStretch& s) { return begin < s.end && s.begin < end; });
}

void AddedTokenFinder::add(const std::string& pattern, const AddedToken& token) {
  if (pattern.empty()) throw Error("added token \"" + token.content + "\" is empty as normalised");
  if (!index_.emplace(pattern, static_cast<std::int32_t>(tokens_.size())).second) {
    throw Error("two added tokens are found as \"" + pattern + "\"");
  }
  tokens_.push_back(token);
  auto& lengths = lengths_[static_cast<unsigned char>(pattern[0])];
  const auto at =
      std::lower_bound(lengths.begin(), lengths.end(), pattern.size(), std::greater<>{});
  if (at == lengths.end() || *at != pattern.size()) lengths.insert(at, pattern.size());
}

const AddedToken* AddedTokenFinder::find_at(std::string_view text, std::size_t at,
                                            std::size_t& length) const {
  for (const std::size_t candidate : lengths_[static_cast<unsigned char>(text[at])]) {
    if (candidate > text.size() - at) continue;
    const auto found = index_.find(text.substr(at, candidate));
    if (found == index_.end()) continue;
    length = candidate;
    return &tokens_[static_cast<std::size_t>(found->second)];
  }
  return nullptr;
}

std::vector<TextPart> AddedTokenFinder::split(std::string_view text, PlainText plain) const {
  std::vector<TextPart> parts;
  std::size_t done = 0, length = 0;
  for (std::size_t at = 0; at < text.size() && !tokens_.empty();) {
    const AddedToken* token = find_at(text, at, length);
    if (!token) {
      ++at;
      continue;
    }
    std::size_t start = at, stop = at + length;
    at = stop;
    if (token->special && reaches_into(plain, start, stop)) continue;
    if (token->single_word && inside_word(text.substr(0, start), text.substr(stop))) continue;
    if (token->lstrip) start = std::max(start - trailing_space(text.substr(0, start)), done);
    if (token->rstrip) stop += leading_space(text.substr(stop));
    if (start > done) parts.push_back({-1, text.substr(done, start - done)});
    parts.push_back({token->id, {}});
    done = stop;
  }
  if (done < text.size()) parts.push_back({-1, text.substr(done)});
  return parts;
}

}  // namespace blip2
