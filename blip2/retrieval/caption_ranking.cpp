#include "blip2/retrieval/caption_ranking.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <unordered_set>

#include "blip2/base/error.h"
#include "blip2/io/utf8.h"

namespace blip2 {
namespace {

bool is_space(char c) {
  return c == ' ' || (c >= '\t' && c <= '\r');
}

// What two texts that say the same have in common.
std::string plain_form(std::string_view text) {
  std::string form;
  bool space = false;
  for (const char c : text) {
    if (is_space(c)) {
      space = true;
      continue;
    }
    if (space && !form.empty()) form += ' ';
    space = false;
    form += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  }
  while (!form.empty() && (form.back() == '.' || form.back() == ' ')) form.pop_back();
  return form;
}

}  // namespace

CaptionRank caption_rank_of(std::string_view name) {
  if (name == "itc") return CaptionRank::itc;
  if (name == "itm") return CaptionRank::itm;
  if (name == "sum") return CaptionRank::sum;
  throw Error(fmt::format("expected itc, itm or sum, got '{}'", printable(name)), "rank");
}

std::vector<RankedCaption> distinct_captions(std::span<const std::string> originals,
                                             std::span<const std::string> generated) {
  std::vector<RankedCaption> captions;
  std::unordered_set<std::string> seen{""};
  const auto add = [&](const std::string& text, bool original) {
    if (seen.insert(plain_form(text)).second) captions.push_back({text, original});
  };
  for (const std::string& text : originals) add(text, true);
  for (const std::string& text : generated) add(text, false);
  return captions;
}

std::vector<RankedCaption> best_captions(std::vector<RankedCaption> captions, std::size_t keep,
                                         double min_score) {
  for (const RankedCaption& caption : captions) {
    if (!std::isnan(caption.score)) continue;
    throw Error(fmt::format("the score of \"{}\" is not a number", printable(caption.text)), "rank",
                "the model's weights or its precision are at fault");
  }
  std::erase_if(captions, [&](const RankedCaption& c) { return c.score < min_score; });
  std::stable_sort(captions.begin(), captions.end(),
                   [](const auto& a, const auto& b) { return a.score > b.score; });
  if (keep > 0 && captions.size() > keep) captions.resize(keep);
  return captions;
}

}  // namespace blip2
