#include "blip2/text/byte_pair_internal.h"

#include "blip2/base/error.h"
#include "blip2/text/unicode.h"

namespace blip2 {
namespace {

bool stands_for_itself(int byte) {
  return (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
}

// GPT-2's byte alphabet, inverted: printable Latin-1 characters stand for themselves, U+0100 and on
// for the other bytes. -1: not in the alphabet.
std::array<std::int16_t, 0x144> make_bytes_of_characters() {
  std::array<std::int16_t, 0x144> bytes;
  bytes.fill(-1);
  std::size_t next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    const std::size_t character = stands_for_itself(byte) ? static_cast<std::size_t>(byte) : next++;
    bytes[character] = static_cast<std::int16_t>(byte);
  }
  return bytes;
}

}  // namespace

std::string token_bytes(std::string_view token, bool* in_alphabet) {
  static const auto bytes = make_bytes_of_characters();
  std::string out;
  if (in_alphabet) *in_alphabet = true;
  for (std::string_view rest = token; !rest.empty();) {
    const CodePoint c = decode_utf8(rest);
    if (c.value >= bytes.size() || bytes[c.value] < 0) {
      if (in_alphabet) *in_alphabet = false;
      return std::string(token);
    }
    out += static_cast<char>(bytes[c.value]);
    rest.remove_prefix(c.bytes);
  }
  return out;
}

BytePairEncoder::BytePairEncoder(const BytePairModel& model, std::span<const std::string> pieces)
    : pattern_(model.pattern),
      digits_(model.digits),
      add_prefix_space_(model.add_prefix_space),
      split_words_(model.split_words),
      ignore_merges_(model.ignore_merges),
      fuse_unknown_(model.fuse_unknown),
      merges_(model.merges),
      whole_(std::make_unique<std::atomic<Whole>[]>(pieces.size())) {
  byte_ids_.fill(-1);
  last_ids_.fill(-1);
  words_.reserve(pieces.size());
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    const auto id = static_cast<std::int32_t>(i);
    if (model.unknown == pieces[i]) unknown_ = id;
    const bool ends = pieces[i].ends_with(model.word_end);
    std::string_view piece = pieces[i];
    if (ends) piece.remove_suffix(model.word_end.size());
    bool in_alphabet = false;
    std::string bytes = token_bytes(piece, &in_alphabet);
    if (!in_alphabet || bytes.empty()) continue;
    if (bytes.size() == 1) {
      const auto byte = static_cast<unsigned char>(bytes[0]);
      if (ends) last_ids_[byte] = id;
      if (!ends || model.word_end.empty()) byte_ids_[byte] = id;
    }
    if (ends) words_.emplace(std::move(bytes), id);
  }
  if (model.unknown && unknown_ < 0) {
    throw Error("the unknown token \"" + *model.unknown + "\" is not in the vocabulary");
  }
}

void BytePairEncoder::encode(std::string_view text, std::vector<std::int32_t>& ids) const {
  if (pattern_ == SplitPattern::none) return encode_digits(text, ids);
  while (!text.empty()) {
    const std::size_t length = first_split(text, pattern_);
    const std::string_view part = text.substr(0, length);
    const bool dropped = drops_spaces(pattern_) && is_whitespace(decode_utf8(part).value);
    if (!dropped) encode_digits(part, ids);
    text.remove_prefix(length);
  }
}

void BytePairEncoder::encode_digits(std::string_view text, std::vector<std::int32_t>& ids) const {
  while (!text.empty()) {
    const std::size_t length = first_digit_split(text, digits_);
    encode_part(text.substr(0, length), ids);
    text.remove_prefix(length);
  }
}

void BytePairEncoder::encode_part(std::string_view text, std::vector<std::int32_t>& ids) const {
  std::string spaced;
  if (add_prefix_space_ && text[0] != ' ') {
    spaced.append(" ").append(text);
    text = spaced;
  }
  while (!text.empty()) {
    const std::size_t length = split_words_ ? first_word(text) : text.size();
    encode_word(text.substr(0, length), ids);
    text.remove_prefix(length);
  }
}

void BytePairEncoder::encode_word(std::string_view word, std::vector<std::int32_t>& ids) const {
  const auto id = find_id(words_, word);
  if (!id) return merge_word(word, ids);
  auto& whole = whole_[static_cast<std::size_t>(*id)];
  if (ignore_merges_ || whole.load(std::memory_order_relaxed) == Whole::yes) {
    return ids.push_back(*id);
  }
  const std::size_t before = ids.size();
  merge_word(word, ids);
  const bool same = ids.size() == before + 1 && ids.back() == *id;
  whole.store(same ? Whole::yes : Whole::no, std::memory_order_relaxed);
}

// A byte without a token is the unknown token, or nothing if there is none.
void BytePairEncoder::merge_word(std::string_view word, std::vector<std::int32_t>& ids) const {
  std::vector<std::int32_t> symbols;
  symbols.reserve(word.size());
  bool after_unknown = false;
  for (std::size_t i = 0; i < word.size(); ++i) {
    const auto& byte_ids = i + 1 == word.size() ? last_ids_ : byte_ids_;
    const std::int32_t id = byte_ids[static_cast<unsigned char>(word[i])];
    const bool unknown = id < 0;
    if (!unknown) {
      symbols.push_back(id);
    } else if (unknown_ >= 0 && !(fuse_unknown_ && after_unknown)) {
      symbols.push_back(unknown_);
    }
    after_unknown = unknown;
  }
  merges_.apply(symbols);
  ids.insert(ids.end(), symbols.begin(), symbols.end());
}

}  // namespace blip2
