#include "blip2/io/plain_object.h"

#include <algorithm>

namespace blip2 {
namespace {

class PlainReader {
 public:
  explicit PlainReader(std::string_view text) : text_(text) {}

  bool read(std::vector<PlainMember>& members) {
    if (!take('{')) return false;
    do {
      PlainMember member{};
      if (!take_text(member.key) || !take(':') || !take_value(member)) return false;
      const auto same = [&](const PlainMember& other) { return other.key == member.key; };
      if (std::any_of(members.begin(), members.end(), same)) return false;
      members.push_back(member);
    } while (take(','));
    return take('}') && at_ == text_.size();
  }

 private:
  void skip_space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) ++at_;
  }
  bool take(char c) {
    skip_space();
    if (at_ == text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  bool take_text(std::string_view& out) {
    if (!take('"')) return false;
    const std::size_t begin = at_;
    while (at_ < text_.size() && text_[at_] >= ' ' && text_[at_] <= '~' && text_[at_] != '"' &&
           text_[at_] != '\\') {
      ++at_;
    }
    out = text_.substr(begin, at_ - begin);
    if (at_ == text_.size() || text_[at_] != '"') return false;
    ++at_;
    return true;
  }
  bool take_value(PlainMember& member) {
    skip_space();
    member.is_text = at_ < text_.size() && text_[at_] == '"';
    return member.is_text ? take_text(member.value) : take_number(member.value);
  }
  // Without a sign, a fraction, an exponent, or a zero in front of other digits.
  bool take_number(std::string_view& out) {
    constexpr std::size_t kMostDigits = 15;
    const std::size_t begin = at_;
    while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9') ++at_;
    out = text_.substr(begin, at_ - begin);
    const bool follows = at_ < text_.size() && (text_[at_] == '.' || (text_[at_] | 0x20) == 'e');
    return !out.empty() && out.size() <= kMostDigits && !follows &&
           (out.size() == 1 || out[0] != '0');
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace

bool read_plain_object(std::string_view text, std::vector<PlainMember>& members) {
  members.clear();
  return PlainReader(text).read(members);
}

}  // namespace blip2
