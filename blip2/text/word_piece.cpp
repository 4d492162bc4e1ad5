#include "blip2/text/word_piece_internal.h"

#include <algorithm>
#include <utility>

#include "blip2/base/error.h"
#include "blip2/text/unicode.h"

namespace blip2 {
namespace {

using Replacement = std::pair<std::string_view, std::string_view>;

std::string replace_all(std::string_view text, const Replacement& replacement) {
  std::string out;
  for (;;) {
    const std::size_t at = text.find(replacement.first);
    if (at == std::string_view::npos) break;
    out.append(text.substr(0, at)).append(replacement.second);
    text.remove_prefix(at + replacement.first.size());
  }
  return out.append(text);
}

// The replacements in their order; only `tokenizers` has the one of "do not".
std::string clean_up(std::string text, bool do_not) {
  constexpr Replacement kReplacements[] = {{" .", "."},     {" ?", "?"},           {" !", "!"},
                                           {" ,", ","},     {" ' ", "'"},          {" n't", "n't"},
                                           {" 'm", "'m"},   {" do not", " don't"}, {" 's", "'s"},
                                           {" 've", "'ve"}, {" 're", "'re"}};
  for (const Replacement& replacement : kReplacements) {
    if (replacement.first == " do not" && !do_not) continue;
    if (text.find(replacement.first) != std::string::npos) text = replace_all(text, replacement);
  }
  return text;
}

bool is_text_control(char32_t c) {
  if (c == '\t' || c == '\n' || c == '\r') return false;
  return c == 0 || c == 0xfffd || is_control(c);
}

// Runs of what is neither white space nor punctuation, and single punctuation characters.
template <typename Take>
void for_each_word(std::string_view text, const Take& take) {
  std::size_t start = 0;
  const auto end_word = [&](std::size_t end) {
    if (end > start) take(text.substr(start, end - start));
  };
  for (std::size_t at = 0; at < text.size();) {
    const CodePoint c = decode_utf8(text.substr(at));
    const bool punctuation = is_punctuation(c.value);
    if (punctuation || is_whitespace(c.value)) {
      end_word(at);
      if (punctuation) take(text.substr(at, c.bytes));
      start = at + c.bytes;
    }
    at += c.bytes;
  }
  end_word(text.size());
}

bool continues_character(char byte) {
  return (static_cast<unsigned char>(byte) & 0xc0) == 0x80;
}

}  // namespace

WordPieceEncoder::WordPieceEncoder(const WordPieceModel& model, std::span<const std::string> pieces)
    : model_(model) {
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    if (pieces[i].empty()) continue;
    const auto id = static_cast<std::int32_t>(i);
    const std::string_view piece = pieces[i];
    starts_.emplace(piece, id);
    if (piece.starts_with(model.prefix)) {
      continuations_.emplace(piece.substr(model.prefix.size()), id);
    }
    longest_ = std::max(longest_, piece.size());
  }
  const auto unknown = find_id(starts_, model.unknown);
  if (!unknown) {
    throw Error("the unknown token \"" + model.unknown + "\" is not in the vocabulary");
  }
  unknown_ = *unknown;
}

std::string WordPieceEncoder::normalize(std::string_view text) const {
  std::u32string characters;
  characters.reserve(text.size());
  while (!text.empty()) {
    const CodePoint c = decode_utf8(text);
    text.remove_prefix(c.bytes);
    if (model_.clean_text && is_text_control(c.value)) continue;
    const char32_t value = model_.clean_text && is_whitespace(c.value) ? U' ' : c.value;
    const bool apart = model_.handle_chinese && is_chinese(value);
    if (apart) characters += U' ';
    characters += value;
    if (apart) characters += U' ';
  }
  const bool strip = model_.strip_accents.value_or(model_.lowercase);
  if (strip) characters = decompose(characters);
  std::string out;
  out.reserve(characters.size());
  for (const char32_t c : characters) {
    if (strip && is_nonspacing_mark(c)) continue;
    model_.lowercase ? append_lower(out, c) : append_utf8(out, c);
  }
  return out;
}

void WordPieceEncoder::encode(std::string_view text, std::vector<std::int32_t>& ids) const {
  for_each_word(text, [&](std::string_view word) { encode_word(word, ids); });
}

// The longest token that starts the rest, again and again; the whole word is unknown if there is
// none.
void WordPieceEncoder::encode_word(std::string_view word, std::vector<std::int32_t>& ids) const {
  const auto characters = word.size() - static_cast<std::size_t>(std::count_if(
                                            word.begin(), word.end(), continues_character));
  const std::size_t before = ids.size();
  const auto give_up = [&] {
    ids.resize(before);
    ids.push_back(unknown_);
  };
  if (characters > static_cast<std::size_t>(model_.max_characters)) return give_up();
  for (std::size_t start = 0; start < word.size();) {
    const TokenIds& tokens = start == 0 ? starts_ : continuations_;
    std::size_t length = std::min(word.size() - start, longest_);
    std::optional<std::int32_t> id;
    for (; length > 0; --length) {
      const std::size_t end = start + length;
      if (end < word.size() && continues_character(word[end])) continue;
      id = find_id(tokens, word.substr(start, length));
      if (id) break;
    }
    if (!id) return give_up();
    ids.push_back(*id);
    start += length;
  }
}

std::string join_word_pieces(std::span<const std::string> tokens, const DecoderOptions& options) {
  std::string out;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    std::string token = tokens[i];
    if (i > 0) {
      token = token.starts_with(options.prefix) ? token.substr(options.prefix.size()) : " " + token;
    }
    out += options.clean_up ? clean_up(std::move(token), true) : token;
  }
  return out;
}

std::string clean_up_tokenization(std::string text) {
  return clean_up(std::move(text), false);
}

}  // namespace blip2
