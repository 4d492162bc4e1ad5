#include "blip2/evaluation/meteor_synonyms_internal.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "blip2/base/error.h"

namespace blip2 {
namespace {

// Endings that WordNet's morphological processor detaches, and what it puts there: of nouns, of
// verbs, of adjectives (wordnet.princeton.edu, morphy(7)).
constexpr std::pair<std::string_view, std::string_view> kDetachments[] = {
    {"s", ""},      {"ses", "s"},   {"xes", "x"}, {"zes", "z"}, {"ches", "ch"},
    {"shes", "sh"}, {"men", "man"}, {"ies", "y"}, {"s", ""},    {"ies", "y"},
    {"es", "e"},    {"es", ""},     {"ed", "e"},  {"ed", ""},   {"ing", "e"},
    {"ing", ""},    {"er", ""},     {"est", ""},  {"er", "e"},  {"est", "e"}};

std::string_view take_line(std::string_view& text) {
  std::string_view line = text.substr(0, text.find('\n'));
  text.remove_prefix(std::min(line.size() + 1, text.size()));
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

// Calls found(part) for what stands between a line's spaces.
template <typename Found>
void each_part(std::string_view line, const Found& found) {
  for (std::size_t at = 0; (at = line.find_first_not_of(" \t", at)) != line.npos;) {
    const std::size_t end = std::min(line.find_first_of(" \t", at), line.size());
    found(line.substr(at, end - at));
    at = end;
  }
}

}  // namespace

MeteorSynonyms::MeteorSynonyms(std::string sets, std::string exceptions)
    : sets_text_(std::move(sets)), exceptions_text_(std::move(exceptions)) {
  for (std::string_view rest = sets_text_; !rest.empty();) {
    const std::string_view word = take_line(rest);
    sets_[word] = take_line(rest);
  }
  for (std::string_view rest = exceptions_text_; !rest.empty();) {
    const std::string_view base = take_line(rest);
    each_part(take_line(rest), [&](std::string_view form) { bases_[form].push_back(base); });
  }
}

void MeteorSynonyms::add(std::string_view word, std::vector<std::uint32_t>& sets) const {
  const auto found = sets_.find(word);
  if (found == sets_.end()) return;
  each_part(found->second, [&](std::string_view part) {
    std::uint32_t set = 0;
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), set);
    if (error != std::errc{} || end != part.data() + part.size()) {
      throw Error("expected the number of a synonym set, got \"" + std::string(part) + "\"",
                  "METEOR's synonyms of " + std::string(word));
    }
    sets.push_back(set);
  });
}

// The base form that a detached ending leads to; empty if none is known.
std::string MeteorSynonyms::base_of(std::string_view word) const {
  if (word.ends_with("ss") || word.size() <= 2) return std::string(word);
  for (const auto& [ending, by] : kDetachments) {
    if (!word.ends_with(ending)) continue;
    std::string base(word.substr(0, word.size() - ending.size()));
    base += by;
    if (sets_.contains(base)) return word.ends_with("ful") ? base + "ful" : base;
  }
  return {};
}

std::vector<std::uint32_t> MeteorSynonyms::of(std::string_view word) const {
  std::vector<std::uint32_t> sets;
  add(word, sets);
  if (const auto irregular = bases_.find(word); irregular != bases_.end()) {
    for (const std::string_view base : irregular->second) add(base, sets);
  } else {
    add(base_of(word), sets);
  }
  std::sort(sets.begin(), sets.end());
  sets.erase(std::unique(sets.begin(), sets.end()), sets.end());
  return sets;
}

}  // namespace blip2
