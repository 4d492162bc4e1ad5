#include "blip2/qformer/pass_rows_internal.h"

#include <fmt/format.h>

#include <algorithm>

#include "blip2/base/error.h"

namespace blip2 {
namespace {

void check_index(std::int64_t index, std::int64_t count, const char* what) {
  if (index >= 0 && index < count) return;
  throw Error(fmt::format("expected a {} of 0 to {}, got {}", what, count - 1, index), "Q-Former");
}

}  // namespace

std::vector<PassRow> picture_rows(std::int64_t images) {
  std::vector<PassRow> rows(static_cast<std::size_t>(images));
  for (std::int64_t i = 0; i < images; ++i) rows[static_cast<std::size_t>(i)].image = i;
  return rows;
}

std::vector<PassRow> text_rows(const TextRows& text, PassRow::Text wanted) {
  std::vector<PassRow> rows(text.texts());
  for (std::int64_t i = 0; i < text.texts(); ++i) {
    rows[i].text = i;
    rows[i].wanted_text = wanted;
  }
  return rows;
}

std::vector<PassRow> pair_rows(const Pairs& pairs, std::int64_t images, std::int64_t texts,
                               bool with_text) {
  if (pairs.images.size() != pairs.texts.size()) {
    throw Error(fmt::format("expected as many pictures as texts in pairs, got {} and {}",
                            pairs.images.size(), pairs.texts.size()),
                "Q-Former");
  }
  std::vector<PassRow> rows(pairs.images.size());
  for (std::size_t r = 0; r < rows.size(); ++r) {
    check_index(pairs.images[r], images, "picture");
    check_index(pairs.texts[r], texts, "text");
    rows[r].image = pairs.images[r];
    rows[r].text = pairs.texts[r];
    rows[r].wanted_text = with_text ? PassRow::Text::all : PassRow::Text::none;
  }
  return rows;
}

void add_generated(std::vector<PassRow>& rows, const TextRows& text,
                   const std::vector<std::int64_t>& pictures, std::int64_t first_text,
                   const QueryStates& queries) {
  if (static_cast<std::int64_t>(pictures.size()) != text.texts()) {
    throw Error(fmt::format("expected a picture for each of {} texts, got {}", text.texts(),
                            pictures.size()),
                "Q-Former");
  }
  for (std::int64_t i = 0; i < text.texts(); ++i) {
    check_index(pictures[i], queries.hidden.size(0), "picture");
    rows.push_back({.image = -1,
                    .text = first_text + i,
                    .prefix = pictures[i],
                    .causal = true,
                    .wanted_text = PassRow::Text::all});
  }
}

const LanguageKeysValues* states_to_read(const LanguageKeysValues* language, std::int64_t texts) {
  if (!language) return nullptr;
  const auto& lengths = language->lengths;
  if (std::ssize(lengths) != texts) {
    throw Error(fmt::format("expected a language model's states of {} texts, got {}", texts,
                            lengths.size()),
                "Q-Former");
  }
  return std::ranges::any_of(lengths, [](auto length) { return length > 0; }) ? language : nullptr;
}

}  // namespace blip2
