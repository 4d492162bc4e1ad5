#include "blip2/evaluation/ngrams.h"

#include <algorithm>

#include "blip2/base/random.h"
#include "blip2/evaluation/python_text.h"

namespace blip2 {
namespace {

constexpr std::uint64_t kFree = ~std::uint64_t{0};

std::vector<std::string_view> split_at_spaces(std::string_view text) {
  std::vector<std::string_view> words;
  for (std::size_t end = 0; (end = text.find(' ')) != text.npos; text.remove_prefix(end + 1)) {
    words.push_back(text.substr(0, end));
  }
  words.push_back(text);
  return words;
}

std::vector<std::uint32_t> numbers_of(const std::vector<std::string_view>& words,
                                      NgramNumbers& numbers) {
  std::vector<std::uint32_t> out;
  out.reserve(words.size());
  for (const std::string_view word : words) out.push_back(numbers.of_word(word));
  return out;
}

void append_counts(std::vector<std::uint32_t>& ngrams, std::vector<NgramCaption::Count>& counts) {
  std::sort(ngrams.begin(), ngrams.end());
  for (std::size_t i = 0; i < ngrams.size(); ++i) {
    if (i > 0 && ngrams[i] == ngrams[i - 1]) {
      ++counts.back().count;
    } else {
      counts.push_back({ngrams[i], 1});
    }
  }
}

}  // namespace

std::uint32_t NgramNumbers::of_word(std::string_view word) {
  const auto [place, fresh] = words_.try_emplace(word, count_);
  count_ += fresh;
  return place->second;
}

std::uint32_t NgramNumbers::of_longer(std::uint32_t ngram, std::uint32_t word) {
  if (2 * (longer_ + 1) > slots_.size()) grow();
  const std::uint64_t key = std::uint64_t{ngram} << 32 | word;
  const std::size_t mask = slots_.size() - 1;
  std::size_t at = scatter(key) & mask;
  while (slots_[at].key != kFree && slots_[at].key != key) at = (at + 1) & mask;
  if (slots_[at].key == kFree) {
    slots_[at] = {key, count_++};
    ++longer_;
  }
  return slots_[at].number;
}

void NgramNumbers::grow() {
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

NgramCaption number_caption(std::string_view text, NgramNumbers& numbers) {
  NgramCaption caption;
  caption.between_spaces = numbers_of(split_at_spaces(text), numbers);
  const std::vector<std::uint32_t> words = numbers_of(split_words(text), numbers);
  caption.words = static_cast<std::uint32_t>(words.size());
  std::vector<std::uint32_t> ngrams = words;
  for (std::size_t n = 0; n < kNgramOrders; ++n) {
    if (n > 0) ngrams.resize(words.size() > n ? words.size() - n : 0);
    std::vector<std::uint32_t> sorted = ngrams;
    append_counts(sorted, caption.counts);
    caption.begins[n + 1] = static_cast<std::uint32_t>(caption.counts.size());
    for (std::size_t i = 0; n + 1 < kNgramOrders && i + n + 1 < words.size(); ++i) {
      ngrams[i] = numbers.of_longer(ngrams[i], words[i + n + 1]);
    }
  }
  caption.counts.shrink_to_fit();
  return caption;
}

}  // namespace blip2
