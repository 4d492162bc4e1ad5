#pragma once

#include <string>
#include <vector>

namespace blip2 {

// What somebody looks for, as typed: "dog", "2*dog", "-leash", "-0.5*night", "photo.jpg".
struct TypedTerm {
  float weight = 1;  // negative: what shall not be there
  bool is_picture = false;
  std::string text;  // words, or the path of a picture
};

// Reads a term. A minus sign in front turns its weight; a number and * before it set the weight.
// The rest is a picture if a file of that name exists, else words; "image:" or "text:" before it
// says which. Error naming the term if nothing is left, or if its weight is 0, too large or no
// number.
TypedTerm read_term(const std::string& typed);

}  // namespace blip2
