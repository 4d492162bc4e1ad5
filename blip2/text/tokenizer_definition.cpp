#include "blip2/text/tokenizer_definition.h"

#include "blip2/base/error.h"

namespace blip2 {

void TokenizerDefinition::set_pieces(std::vector<std::string> tokens) {
  if (tokens.empty()) throw Error("the vocabulary is empty", where);
  pieces = std::move(tokens);
  model_size = static_cast<std::int32_t>(pieces.size());
  ids.clear();
  ids.reserve(pieces.size());
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    if (pieces[i].empty()) continue;
    const auto [other, is_new] = ids.emplace(pieces[i], static_cast<std::int32_t>(i));
    if (!is_new) {
      throw Error("token \"" + pieces[i] + "\" has two ids, " + std::to_string(other->second) +
                      " and " + std::to_string(i),
                  where);
    }
  }
}

std::int32_t TokenizerDefinition::add(AddedToken token) {
  if (token.content.empty()) throw Error("an added token is empty", where);
  const auto [entry, is_new] = ids.emplace(token.content, static_cast<std::int32_t>(pieces.size()));
  if (is_new) pieces.push_back(token.content);
  token.id = entry->second;
  added.insert_or_assign(entry->second, std::move(token));
  return entry->second;
}

void TokenizerDefinition::add_if_missing(const AddedToken& token) {
  const auto id = find_id(ids, token.content);
  if (!id || !added.contains(*id)) add(token);
}

}  // namespace blip2
