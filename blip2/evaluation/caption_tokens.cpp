#include <string_view>

#include "blip2/evaluation/caption_metrics.h"
#include "blip2/evaluation/exact_match.h"

namespace blip2 {
namespace {

constexpr std::string_view kDropped = ".?!,:;\"`()[]{}";
constexpr std::string_view kClitics[] = {"n't", "'s", "'re", "'ve", "'ll", "'d", "'m"};

// The word with its clitic, if any, set apart, and without quotes and dashes at its ends.
std::string split_clitic(std::string_view word) {
  for (const std::string_view clitic : kClitics) {
    if (word.size() > clitic.size() && word.ends_with(clitic)) {
      word.remove_suffix(clitic.size());
      return std::string(word) + " " + std::string(clitic);
    }
  }
  while (!word.empty() && (word.front() == '\'' || word.front() == '-')) word.remove_prefix(1);
  while (!word.empty() && (word.back() == '\'' || word.back() == '-')) word.remove_suffix(1);
  return std::string(word);
}

}  // namespace

std::string tokenise_caption(const std::string& caption) {
  std::string spaced;
  for (const char c : caption) spaced += kDropped.find(c) == kDropped.npos ? c : ' ';
  const std::string folded = fold_text(spaced) + " ";
  std::string out;
  for (std::size_t begin = 0, end = 0; (end = folded.find(' ', begin)) != folded.npos;
       begin = end + 1) {
    const std::string word = split_clitic(std::string_view(folded).substr(begin, end - begin));
    if (word.empty()) continue;
    if (!out.empty()) out += ' ';
    out += word;
  }
  return out;
}

}  // namespace blip2
