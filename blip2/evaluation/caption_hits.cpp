#include "blip2/evaluation/caption_hits.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <utility>
#include <vector>

#include "blip2/evaluation/lemmas.h"
#include "blip2/evaluation/text_words_internal.h"
#include "blip2/text/unicode.h"

namespace blip2 {
namespace {

constexpr std::string_view kArticles[] = {"a",   "an",    "the", "this", "that", "his", "her",
                                          "its", "their", "my",  "your", "our",  "some"};
constexpr std::string_view kEnders[] = {
    // prepositions
    "of", "with", "in", "on", "at", "by", "for", "from", "to", "under", "over", "near", "behind",
    "beside", "between", "among", "through", "into", "onto", "around", "against", "above", "below",
    "across", "along", "inside", "outside", "within", "without", "upon", "toward", "towards",
    "beneath", "underneath", "off", "as", "like", "via",
    // conjunctions and pronouns
    "and", "or", "but", "nor", "vs", "versus", "than", "while", "that", "which", "who", "whose",
    "where", "when",
    // verbs
    "is", "are", "was", "were", "has", "have", "wearing", "holding"};

template <std::size_t N>
bool is_any(const std::string& word, const std::string_view (&list)[N]) {
  return std::find(std::begin(list), std::end(list), word) != std::end(list);
}

// Whether the word is an -ing form, not a thing's name: "sitting", not "painting" or "ring".
bool is_participle(const std::string& word) {
  return word.ends_with("ing") && lemma_of(word) != word;
}

// Whether the first phrase ends before word i, a word behind its first.
bool ends_before(const std::vector<TextWord>& words, std::size_t i) {
  if (words[i].begins_phrase || is_any(words[i].text, kEnders)) return true;
  if (!is_participle(words[i].text)) return false;
  if (i + 1 == words.size() || words[i + 1].begins_phrase) return true;
  return is_any(words[i + 1].text, kEnders) || is_any(words[i + 1].text, kArticles);
}

// Whether a word says something: it has a letter and another character.
bool says_something(const std::string& word) {
  std::size_t letters = 0, characters = 0;
  for (std::string_view rest = word; !rest.empty(); ++characters) {
    const CodePoint point = decode_utf8(rest);
    letters += is_letter(point.value);
    // One letter of a script that has no alphabet is a word.
    if (is_chinese(point.value)) return true;
    rest.remove_prefix(point.bytes);
  }
  return letters > 0 && characters > 1;
}

bool contains_run(const std::vector<std::string>& words, const std::vector<std::string>& run) {
  return !run.empty() &&
         std::search(words.begin(), words.end(), run.begin(), run.end()) != words.end();
}

bool is_generic(const std::string& lemma, std::span<const std::string> generic) {
  return std::find(generic.begin(), generic.end(), lemma) != generic.end();
}

// The title's words without generic ones, whose place as a phrase's first the next one takes.
std::vector<TextWord> telling_words(std::string_view title, std::span<const std::string> generic) {
  std::vector<TextWord> words;
  bool begins_phrase = false;
  for (TextWord& word : words_of(title)) {
    begins_phrase |= word.begins_phrase;
    if (is_generic(lemma_of(word.text), generic)) continue;
    words.push_back({std::move(word.text), begins_phrase});
    begins_phrase = false;
  }
  return words;
}

}  // namespace

std::string head_noun(std::string_view title, std::span<const std::string> generic) {
  const std::vector<TextWord> words = telling_words(title, generic);
  std::size_t begin = 0;
  while (begin + 1 < words.size() &&
         (is_any(words[begin].text, kArticles) || is_any(words[begin].text, kEnders))) {
    ++begin;
  }
  if (begin == words.size()) return "";
  std::size_t end = begin + 1;
  while (end < words.size() && !ends_before(words, end)) ++end;
  std::size_t head = end - 1;
  while (head > begin && !says_something(words[head].text)) --head;
  if (!says_something(words[head].text)) head = end - 1;
  return lemma_of(words[head].text);
}

bool is_hit(std::string_view caption, std::string_view title, std::span<const std::string> keywords,
            std::span<const std::string> generic) {
  const std::vector<std::string> said = lemmas_of(caption);
  const std::string head = head_noun(title, generic);
  if (!head.empty() && contains_run(said, {head})) return true;
  return std::any_of(keywords.begin(), keywords.end(), [&](const std::string& keyword) {
    const std::vector<std::string> run = lemmas_of(keyword);
    const bool telling = run.size() != 1 || !is_generic(run[0], generic);
    return telling && contains_run(said, run);
  });
}

Interval wilson_interval(std::size_t hits, std::size_t total) {
  if (total == 0) return {};
  constexpr double z = 1.959963984540054;  // the normal distribution's 97.5 % point
  const double n = static_cast<double>(total), share = static_cast<double>(hits) / n;
  const double centre = (share + z * z / (2 * n)) / (1 + z * z / n);
  const double half =
      z / (1 + z * z / n) * std::sqrt(share * (1 - share) / n + z * z / (4 * n * n));
  return {std::max(centre - half, 0.0), std::min(centre + half, 1.0)};
}

}  // namespace blip2
