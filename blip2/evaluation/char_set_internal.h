#pragma once

#include <vector>

namespace blip2 {

// A set of UTF-16 code units, as sorted ranges that neither overlap nor touch.
class CharSet {
 public:
  struct Range {
    char16_t first, last;
    auto operator<=>(const Range&) const = default;
  };

  CharSet() = default;
  // Ranges in any order.
  explicit CharSet(std::vector<Range> ranges);

  CharSet operator|(const CharSet& other) const;
  CharSet complement() const;
  const std::vector<Range>& ranges() const { return ranges_; }
  auto operator<=>(const CharSet&) const = default;

 private:
  std::vector<Range> ranges_;
};

// Each unit's class among `sets`: units of one class are in the same sets.
struct CharClasses {
  std::vector<unsigned char> of_unit;       // 65536
  std::vector<std::vector<bool>> contains;  // [set][class]
  unsigned count = 0;                       // at most 256; Error (programming) if there are more
};
CharClasses classify(const std::vector<CharSet>& sets);

}  // namespace blip2
