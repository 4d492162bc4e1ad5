#include "blip2/search/terms.h"

#include <charconv>
#include <cmath>
#include <filesystem>
#include <string_view>

#include "blip2/base/error.h"

namespace blip2 {
namespace {

constexpr float kMostWeight = 1000;

bool take(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

// Takes "2*" off the text: the number, or 1 if it begins with none.
float take_weight(std::string_view& text, const std::string& typed) {
  const auto star = text.find('*');
  if (star == text.npos || star == 0) return 1;
  float weight = 0;
  const char* const end = text.data() + star;
  const auto read = std::from_chars(text.data(), end, weight);
  if (read.ptr != end) return 1;  // a * in words
  const bool fits =
      read.ec == std::errc() && std::isfinite(weight) && weight > 0 && weight <= kMostWeight;
  if (!fits) {
    throw Error("expected a weight above 0 and at most 1000 before *", "\"" + typed + "\"",
                "a minus sign in front says what shall not be there");
  }
  text.remove_prefix(star + 1);
  return weight;
}

}  // namespace

TypedTerm read_term(const std::string& typed) {
  std::string_view rest = typed;
  TypedTerm term;
  const bool minus = take(rest, "-");
  term.weight = take_weight(rest, typed);
  if (minus) term.weight = -term.weight;
  const bool says_picture = take(rest, "image:"), says_text = !says_picture && take(rest, "text:");
  std::error_code error;
  term.is_picture = says_picture || (!says_text && std::filesystem::is_regular_file(rest, error));
  term.text = rest;
  need(rest.find_first_not_of(" \t\r\n") != rest.npos, "expected words or a picture",
       "\"" + typed + "\"");
  return term;
}

}  // namespace blip2
