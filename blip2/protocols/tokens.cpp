#include "blip2/protocols/tokens.h"

#include <fmt/format.h>

#include <algorithm>

#include "blip2/io/utf8.h"
#include "blip2/protocols/known_members_internal.h"
#include "blip2/protocols/request_json_internal.h"

namespace blip2 {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr std::string_view kVllmRead[] = {"model", "prompt", "add_special_tokens",
                                          "return_token_strs"};
constexpr std::string_view kLlamaRead[] = {"model", "content", "add_special", "parse_special",
                                           "with_pieces"};
constexpr std::string_view kDetokenizeRead[] = {"model", "tokens"};

// llama.cpp shows a piece that is no text as its bytes.
ordered_json piece_of(const std::string& piece) {
  if (is_utf8(piece)) return piece;
  ordered_json bytes = ordered_json::array();
  for (const char byte : piece) bytes.push_back(static_cast<unsigned char>(byte));
  return bytes;
}

std::string needed_text(const Members& members, const char* key, const RequestLimits& limits) {
  const std::string& text = text_value_at(members.need(key, "a string"), key);
  TextBudget(limits.max_text).spend(text.size(), key);
  return text;
}

}  // namespace

TokenizeRequest parse_tokenize(std::string_view body, const RequestLimits& limits) {
  const json parsed = parse_body(body, limits);
  const Members members(parsed, "");
  TokenizeRequest request;
  request.of_llama_cpp = members.find("content") != nullptr;
  if (request.of_llama_cpp) {
    check_members(members, {kLlamaRead, {}});
  } else {
    check_members(members, {kVllmRead, {}});
  }
  requested_model(members.text("model"), "model", limits);
  const bool llama = request.of_llama_cpp;
  request.text = needed_text(members, llama ? "content" : "prompt", limits);
  request.add_special_tokens =
      members.flag(llama ? "add_special" : "add_special_tokens").value_or(!llama);
  request.parse_special = members.flag("parse_special").value_or(true);
  request.with_pieces = members.flag(llama ? "with_pieces" : "return_token_strs").value_or(false);
  return request;
}

std::vector<std::int32_t> parse_detokenize(std::string_view body, const RequestLimits& limits,
                                           std::int64_t vocabulary) {
  const json parsed = parse_body(body, limits);
  const Members members(parsed, "");
  check_members(members, {kDetokenizeRead, {}});
  requested_model(members.text("model"), "model", limits);
  const json& list = members.need("tokens", "a list of token ids");
  if (!list.is_array()) refuse_type("tokens", "a list of token ids", list);
  std::vector<std::int32_t> tokens;
  for (std::size_t i = 0; i < list.size(); ++i) {
    const auto id = whole_value(list[i], fmt::format("tokens[{}]", i), 0, vocabulary - 1);
    tokens.push_back(static_cast<std::int32_t>(id));
  }
  return tokens;
}

std::string tokenize_answer(const TokenizeRequest& request, std::span<const std::int32_t> tokens,
                            std::span<const std::string> pieces, std::int64_t max_model_len) {
  ordered_json list = ordered_json::array(), shown = ordered_json::array();
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const bool with_piece = request.with_pieces && i < pieces.size();
    if (with_piece)
      shown.push_back(request.of_llama_cpp ? piece_of(pieces[i]) : ordered_json(pieces[i]));
    if (with_piece && request.of_llama_cpp) {
      list.push_back({{"id", tokens[i]}, {"piece", shown.back()}});
    } else {
      list.push_back(tokens[i]);
    }
  }
  ordered_json answer = {
      {"count", tokens.size()}, {"max_model_len", max_model_len}, {"tokens", list}};
  if (!request.of_llama_cpp) answer["token_strs"] = request.with_pieces ? shown : ordered_json();
  return dumped(answer);
}

std::string detokenize_answer(std::string_view text) {
  return dumped({{"prompt", std::string(text)}, {"content", std::string(text)}});
}

}  // namespace blip2
