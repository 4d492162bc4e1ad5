#include "blip2/text/tokenizer_config_internal.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "blip2/base/error.h"
#include "blip2/io/members.h"
#include "blip2/io/utf8.h"
#include "blip2/text/tokenizer_json_internal.h"

namespace blip2 {
namespace {

using nlohmann::json;

constexpr std::array kRoles = {"bos_token", "eos_token", "unk_token", "sep_token",
                               "pad_token", "cls_token", "mask_token"};

// A role's token: a string, or an object with the flags.
AddedToken role_token(const json& value, const std::string& where) {
  AddedToken token;
  if (value.is_string()) {
    token.content = value.get<std::string>();
    return token;
  }
  token = read_added_token(value, where);
  token.special = true;
  return token;
}

void read_added_decoder(const json& config, TokenizerDefinition& definition,
                        const std::string& where) {
  if (!find_member(config, {"added_tokens_decoder"})) return;
  const json& tokens = object_member(config, "added_tokens_decoder", where);
  std::map<std::int64_t, const json*> by_id;  // keys are numbers as strings
  for (const auto& [key, value] : tokens.items()) {
    by_id.emplace(std::strtoll(key.c_str(), nullptr, 10), &value);
  }
  for (const auto& [id, value] : by_id) {
    definition.add_if_missing(
        read_added_token(*value, where + ": added_tokens_decoder." + std::to_string(id)));
  }
}

void read_roles(const json& config, TokenizerDefinition& definition, const std::string& where) {
  for (const char* role : kRoles) {
    const json* found = find_member(config, {role});
    if (!found) continue;
    const AddedToken token = role_token(*found, where + ": " + role);
    definition.roles[role] = token.content;
    definition.add_if_missing(token);
  }
  for (const char* key : {"additional_special_tokens", "extra_special_tokens"}) {
    const json* found = find_member(config, {key});
    if (!found || !found->is_array()) continue;
    for (const json& value : *found) {
      definition.add_if_missing(role_token(value, where + ": " + key));
    }
  }
}

// The templates of a list by their names.
std::map<std::string, std::string> named_templates(const json& list, const std::string& where) {
  std::map<std::string, std::string> named;
  for (const json& entry : list) {
    named.emplace(string_member(entry, "name", where), string_member(entry, "template", where));
  }
  return named;
}

}  // namespace

void set_chat_template(std::string text, TokenizerDefinition& definition) {
  if (!is_utf8(text)) {
    throw Error("the chat template is not valid UTF-8", definition.chat_template_where);
  }
  if (text.empty()) definition.chat_template_fault = "the chat template is empty";
  definition.chat_template = std::move(text);
}

void apply_chat_template(const json& config, TokenizerDefinition& definition) {
  const json* found = find_member(config, {"chat_template"});
  if (!found) return;
  if (found->is_string()) return set_chat_template(found->get<std::string>(), definition);
  const std::string& where = definition.chat_template_where;
  if (!found->is_array()) {
    throw Error("expected a string or a list of named templates, got " + shown(*found), where);
  }
  std::vector<std::string> names;
  for (auto& [name, text] : named_templates(*found, where)) {
    if (name == "default") return set_chat_template(text, definition);
    names.push_back(name);
  }
  definition.chat_template_fault =
      fmt::format("expected a template named default, got {}",
                  names.empty() ? "none" : fmt::format("{}", fmt::join(names, ", ")));
}

void apply_tokenizer_config(const json& config, TokenizerDefinition& definition,
                            const std::string& where) {
  read_added_decoder(config, definition, where);
  read_roles(config, definition, where);
  definition.clean_up_spaces =
      member_or(config, "clean_up_tokenization_spaces", definition.clean_up_spaces, where);
}

void apply_added_ends(const json& config, TokenizerDefinition& definition,
                      const std::string& where) {
  const auto end = [&](const char* key, const char* role) {
    std::vector<std::int32_t> ids;
    const auto token = definition.roles.find(role);
    if (token != definition.roles.end() && member_or(config, key, false, where)) {
      ids.push_back(*find_id(definition.ids, token->second));
    }
    return ids;
  };
  definition.prefix = end("add_bos_token", "bos_token");
  definition.suffix = end("add_eos_token", "eos_token");
}

}  // namespace blip2
