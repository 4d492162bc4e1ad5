#include "blip2/evaluation/vqa_accuracy.h"

#include <algorithm>
#include <map>
#include <string_view>
#include <vector>

#include "blip2/evaluation/exact_match.h"
#include "blip2/evaluation/python_text_internal.h"
#include "blip2/text/unicode.h"

namespace blip2 {
namespace {

constexpr std::size_t kPeople = 10;
constexpr std::string_view kPunctuation = ";/[]\"{}()=+\\_->@<`,?!";

// What answers become that lack one of these forms' apostrophes.
constexpr std::string_view kContractions[] = {
    "ain't",       "aren't",      "can't",          "could've",     "couldn't",
    "couldn't've", "didn't",      "doesn't",        "don't",        "hadn't",
    "hadn't've",   "hasn't",      "haven't",        "he'd",         "he'd've",
    "he's",        "how'd",       "how'll",         "how's",        "isn't",
    "it'd",        "it'd've",     "it'll",          "ma'am",        "mightn't",
    "mightn't've", "might've",    "mustn't",        "must've",      "needn't",
    "not've",      "o'clock",     "oughtn't",       "'ow's'at",     "shan't",
    "she'd've",    "should've",   "shouldn't",      "shouldn't've", "somebody'd've",
    "somebody'll", "somebody's",  "someone'd",      "someone'd've", "someone'll",
    "someone's",   "something'd", "something'd've", "something'll", "that's",
    "there'd",     "there'd've",  "there're",       "there's",      "they'd",
    "they'd've",   "they'll",     "they're",        "they've",      "'twas",
    "wasn't",      "we'd've",     "we've",          "weren't",      "what'll",
    "what're",     "what's",      "what've",        "when's",       "where'd",
    "where's",     "where've",    "who'd",          "who'd've",     "who'll",
    "who's",       "who've",      "why'll",         "why're",       "why's",
    "won't",       "would've",    "wouldn't",       "wouldn't've",  "y'all",
    "y'all'll",    "y'all'd've",  "you'd",          "you'd've",     "you'll",
    "you're",      "you've"};

// Words and what they become; an empty string drops the word.
std::map<std::string, std::string, std::less<>> make_words() {
  std::map<std::string, std::string, std::less<>> words{
      {"none", "0"},  {"zero", "0"},
      {"one", "1"},   {"two", "2"},
      {"three", "3"}, {"four", "4"},
      {"five", "5"},  {"six", "6"},
      {"seven", "7"}, {"eight", "8"},
      {"nine", "9"},  {"ten", "10"},
      {"a", ""},      {"an", ""},
      {"the", ""},    {"somebody'd", "somebodyd"}};  // the other way round in the original
  for (const std::string_view right : kContractions) {
    for (std::size_t i = right.find('\''); i != right.npos; i = right.find('\'', i + 1)) {
      words.emplace(std::string(right.substr(0, i)) + std::string(right.substr(i + 1)), right);
    }
  }
  return words;
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

bool has_digit_comma_digit(std::string_view text) {
  for (std::size_t i = 1; i + 1 < text.size(); ++i) {
    if (text[i] == ',' && is_digit(text[i - 1]) && is_digit(text[i + 1])) return true;
  }
  return false;
}

// A mark next to a space anywhere goes everywhere; otherwise it becomes a space. Full stops go
// unless a digit follows; the reference does so for the first 32 that qualify, as it passes
// re.UNICODE, which is 32, for re.sub's count.
std::string without_punctuation(const std::string& text) {
  constexpr std::size_t kMostStops = 32;
  const bool number = has_digit_comma_digit(text);
  std::string spaced;
  for (const char c : text) {
    if (kPunctuation.find(c) == kPunctuation.npos) {
      spaced += c;
    } else if (!number && text.find({c, ' '}) == text.npos && text.find({' ', c}) == text.npos) {
      spaced += ' ';
    }
  }
  std::string out;
  std::size_t stops = 0;
  for (std::size_t i = 0; i < spaced.size(); ++i) {
    const bool drop = spaced[i] == '.' && stops < kMostStops &&
                      !(i + 1 < spaced.size() && is_digit(spaced[i + 1]));
    stops += drop;
    if (!drop) out += spaced[i];
  }
  return out;
}

std::string stripped(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](char c) { return c == '\n' || c == '\t'; }, ' ');
  return std::string(strip(text));
}

// Whether a short list of right answers has the answer.
bool is_among(const std::string& answer, std::span<const std::string> right) {
  if (equals_any(answer, right)) return true;
  const std::string ours = normalise_vqa_answer(answer);
  return !ours.empty() && std::any_of(right.begin(), right.end(), [&](const std::string& text) {
    return normalise_vqa_answer(text) == ours;
  });
}

}  // namespace

std::string normalise_vqa_answer(const std::string& answer) {
  static const auto words = make_words();
  const std::string folded = to_lower(without_punctuation(stripped(answer)));
  std::string out;
  for (const std::string_view word : split_words(folded)) {
    const auto found = words.find(word);
    const std::string_view becomes = found == words.end() ? word : found->second;
    if (becomes.empty()) continue;
    if (!out.empty()) out += ' ';
    out += becomes;
  }
  return out;
}

double vqa_accuracy(const std::string& answer, std::span<const std::string> right) {
  if (right.size() != kPeople) return is_among(answer, right) ? 1 : 0;
  std::vector<std::string> people;
  for (const std::string& text : right) people.push_back(stripped(text));
  std::string ours = stripped(answer);
  if (std::any_of(people.begin(), people.end(), [&](auto& text) { return text != people[0]; })) {
    for (std::string& text : people) text = normalise_vqa_answer(text);
    ours = normalise_vqa_answer(ours);
  }
  const auto agree = static_cast<double>(std::count(people.begin(), people.end(), ours));
  const double alone = kPeople - agree;  // people whose own answer is another: all who agree count
  return (alone * std::min(agree / 3, 1.) + agree * std::min((agree - 1) / 3, 1.)) / kPeople;
}

}  // namespace blip2
