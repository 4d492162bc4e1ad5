#include "blip2/text/tokenizer_definition.h"

#include <algorithm>

#include "blip2/base/error.h"

namespace blip2 {

std::int32_t TokenizerDefinition::add(AddedToken token) {
  if (token.content.empty()) throw Error("an added token is empty", where);
  const auto same = [&](const AddedToken& t) { return t.content == token.content; };
  const auto known = std::find_if(added.begin(), added.end(), same);
  if (known != added.end()) {
    token.id = known->id;
    *known = std::move(token);
    return known->id;
  }
  const auto piece = std::find(pieces.begin(), pieces.end(), token.content);
  token.id = static_cast<std::int32_t>(piece - pieces.begin());
  if (piece == pieces.end()) pieces.push_back(token.content);
  const auto before = [](const AddedToken& a, const AddedToken& b) { return a.id < b.id; };
  return added.insert(std::upper_bound(added.begin(), added.end(), token, before), token)->id;
}

}  // namespace blip2
