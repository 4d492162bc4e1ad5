#include "blip2/evaluation/ngrams.h"

#include <algorithm>

#include "blip2/base/random.h"
#include "blip2/evaluation/python_text.h"

namespace blip2 {
namespace {

constexpr std::uint64_t kFree = ~std::uint64_t{0};

// Whether single spaces and nothing else stand between the words, and nothing around them.
bool are_all(const std::vector<std::string_view>& words, std::string_view text) {
  std::size_t at = 0;
  for (const std::string_view word : words) {
    const bool here = word.data() == text.data() + at;
    at += word.size() + 1;
    if (!here || (at <= text.size() && text[at - 1] != ' ')) return false;
  }
  return at == text.size() + 1;
}

}  // namespace

std::uint32_t NgramCaptions::number_of(std::string_view word) {
  const auto [place, fresh] = words_.try_emplace(word, count_);
  count_ += fresh;
  return place->second;
}

std::uint32_t NgramCaptions::number_of(std::uint32_t ngram, std::uint32_t word) {
  if (3 * (used_ + 1) > 2 * slots_.size()) grow();
  const std::uint64_t key = std::uint64_t{ngram} << 32 | word;
  const std::size_t mask = slots_.size() - 1;
  std::size_t at = scatter(key) & mask;
  while (slots_[at].key != kFree && slots_[at].key != key) at = (at + 1) & mask;
  if (slots_[at].key == kFree) {
    slots_[at] = {key, count_++};
    ++used_;
  }
  return slots_[at].number;
}

void NgramCaptions::grow() {
  std::vector<Slot> old(std::max<std::size_t>(1024, 2 * slots_.size()), Slot{kFree, 0});
  old.swap(slots_);
  const std::size_t mask = slots_.size() - 1;
  for (const Slot& slot : old) {
    if (slot.key == kFree) continue;
    std::size_t at = scatter(slot.key) & mask;
    while (slots_[at].key != kFree) at = (at + 1) & mask;
    slots_[at] = slot;
  }
}

void NgramCaptions::append_counts(std::vector<std::uint32_t>& ngrams) {
  std::sort(ngrams.begin(), ngrams.end());
  for (std::size_t i = 0; i < ngrams.size(); ++i) {
    if (i > 0 && ngrams[i] == ngrams[i - 1]) {
      ++counts_.back().count;
    } else {
      counts_.push_back({ngrams[i], 1});
    }
  }
}

void NgramCaptions::add(std::string_view text) {
  Place place;
  const std::vector<std::string_view> words = split_words(text);
  numbers_.clear();
  for (const std::string_view word : words) numbers_.push_back(number_of(word));
  if (are_all(words, text)) {
    between_spaces_.insert(between_spaces_.end(), numbers_.begin(), numbers_.end());
  } else {
    for (std::size_t end = 0; (end = text.find(' ')) != text.npos; text.remove_prefix(end + 1)) {
      between_spaces_.push_back(number_of(text.substr(0, end)));
    }
    between_spaces_.push_back(number_of(text));
  }
  place.between_spaces = between_spaces_.size();
  place.words = static_cast<std::uint32_t>(words.size());
  ngrams_ = numbers_;
  for (std::size_t n = 0; n < kNgramOrders; ++n) {
    ngrams_.resize(words.size() > n ? words.size() - n : 0);
    for (std::size_t i = 0; n > 0 && i < ngrams_.size(); ++i) {
      ngrams_[i] = number_of(ngrams_[i], numbers_[i + n]);
    }
    sorted_ = ngrams_;
    append_counts(sorted_);
    place.counts[n] = counts_.size();
  }
  places_.push_back(place);
}

NgramCaption NgramCaptions::operator[](std::size_t caption) const {
  const Place &before = places_[caption], &place = places_[caption + 1];
  NgramCaption out;
  out.between_spaces =
      std::span(between_spaces_)
          .subspan(before.between_spaces, place.between_spaces - before.between_spaces);
  out.words = place.words;
  std::size_t begin = before.counts.back();
  for (std::size_t n = 0; n < kNgramOrders; ++n) {
    out.counts[n] = std::span(counts_).subspan(begin, place.counts[n] - begin);
    begin = place.counts[n];
  }
  return out;
}

}  // namespace blip2
