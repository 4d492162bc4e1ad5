#include "blip2/evaluation/ngrams.h"

#include <algorithm>
#include <unordered_map>

#include "blip2/base/parallel.h"
#include "blip2/evaluation/python_text_internal.h"

namespace blip2 {
namespace {

// Words by numbers from 0 in the order in which they come; open addressing.
class WordTable {
 public:
  explicit WordTable(std::vector<std::string_view>& texts) : texts_(texts), slots_(1024) {}

  std::uint32_t number_of(std::string_view word) {
    std::uint64_t hash = word.size();
    for (const char c : word) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
    hash = scatter(hash);
    std::size_t at = hash & (slots_.size() - 1);
    for (; slots_[at].number != 0; at = (at + 1) & (slots_.size() - 1)) {
      if (slots_[at].hash == hash && texts_[slots_[at].number - 1] == word) {
        return slots_[at].number - 1;
      }
    }
    texts_.push_back(word);
    slots_[at] = {hash, static_cast<std::uint32_t>(texts_.size())};
    if (2 * texts_.size() > slots_.size()) grow();
    return static_cast<std::uint32_t>(texts_.size()) - 1;
  }

 private:
  struct Slot {
    std::uint64_t hash = 0;
    std::uint32_t number = 0;  // from 1
  };

  void grow() {
    std::vector<Slot> old(2 * slots_.size());
    old.swap(slots_);
    for (const Slot& slot : old) {
      if (slot.number == 0) continue;
      std::size_t at = slot.hash & (slots_.size() - 1);
      while (slots_[at].number != 0) at = (at + 1) & (slots_.size() - 1);
      slots_[at] = slot;
    }
  }

  std::vector<std::string_view>& texts_;
  std::vector<Slot> slots_;
};

// Whether single spaces between words are all that the text has beside visible ASCII.
bool is_regular(std::string_view text) {
  char before = ' ';
  for (const char c : text) {
    if (c < ' ' || c > '~' || (c == ' ' && before == ' ')) return false;
    before = c;
  }
  return before != ' ';
}

// Calls found(part) for what single spaces separate.
template <typename Found>
void each_between_spaces(std::string_view text, const Found& found) {
  std::size_t begin = 0;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] != ' ') continue;
    found(text.substr(begin, at - begin));
    begin = at + 1;
  }
  found(text.substr(begin));
}

}  // namespace

CaptionNumbers::Part CaptionNumbers::read(std::span<const std::string_view> captions) {
  Part part;
  WordTable table(part.texts);
  const auto add = [&](std::string_view word) { part.words.push_back(table.number_of(word)); };
  for (const std::string_view caption : captions) {
    if (is_regular(caption)) {
      each_between_spaces(caption, add);
    } else {
      for (const std::string_view word : split_words(caption)) add(word);
      each_between_spaces(
          caption, [&](std::string_view word) { part.between.push_back(table.number_of(word)); });
    }
    part.word_ends.push_back(part.words.size());
    part.between_ends.push_back(part.between.size());
  }
  return part;
}

CaptionNumbers::CaptionNumbers(std::span<const std::string_view> captions, std::size_t threads)
    : size_(captions.size()),
      part_size_((size_ + threads - 1) / std::max<std::size_t>(threads, 1)) {
  part_size_ = std::max<std::size_t>(part_size_, 1);
  parts_.resize((size_ + part_size_ - 1) / part_size_);
  parallel_for(parts_.size(), threads, [&](std::size_t i) {
    const std::size_t begin = i * part_size_;
    parts_[i] = read(captions.subspan(begin, std::min(part_size_, size_ - begin)));
  });
  number_alike(threads);
}

// Gives the parts' words the numbers that they have over all parts.
void CaptionNumbers::number_alike(std::size_t threads) {
  std::unordered_map<std::string_view, std::uint32_t> numbers;
  std::vector<std::vector<std::uint32_t>> of_part(parts_.size());
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    for (const std::string_view word : parts_[i].texts) {
      const auto fresh = static_cast<std::uint32_t>(numbers.size());
      of_part[i].push_back(numbers.try_emplace(word, fresh).first->second);
    }
  }
  vocabulary_ = numbers.size();
  parallel_for(parts_.size(), threads, [&](std::size_t i) {
    for (std::uint32_t& word : parts_[i].words) word = of_part[i][word];
    for (std::uint32_t& word : parts_[i].between) word = of_part[i][word];
  });
}

std::span<const std::uint32_t> CaptionNumbers::words(std::size_t caption) const {
  const Part& part = parts_[caption / part_size_];
  const std::size_t at = caption % part_size_;
  return std::span(part.words)
      .subspan(part.word_ends[at], part.word_ends[at + 1] - part.word_ends[at]);
}

std::span<const std::uint32_t> CaptionNumbers::between_spaces(std::size_t caption) const {
  const Part& part = parts_[caption / part_size_];
  const std::size_t at = caption % part_size_;
  const std::size_t count = part.between_ends[at + 1] - part.between_ends[at];
  return count == 0 ? words(caption)
                    : std::span(part.between).subspan(part.between_ends[at], count);
}

}  // namespace blip2
