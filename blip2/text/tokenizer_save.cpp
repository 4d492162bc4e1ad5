#include <nlohmann/json.hpp>

#include "blip2/text/tokenizer_config_internal.h"
#include "blip2/text/tokenizer_json_internal.h"
#include "blip2/text/tokenizer_parts_internal.h"

namespace blip2 {
namespace {

using Json = nlohmann::ordered_json;

std::string quoted(const std::string& text) {
  return Json(text).dump();
}

Json flags_of(const AddedToken& token) {
  return {{"content", token.content},       {"single_word", token.single_word},
          {"lstrip", token.lstrip},         {"rstrip", token.rstrip},
          {"normalized", token.normalized}, {"special", token.special}};
}

Json added_tokens(const TokenizerDefinition& definition) {
  Json list = Json::array();
  for (const auto& [id, token] : definition.added) {
    Json entry = {{"id", id}};
    entry.update(flags_of(token));
    list.push_back(entry);
  }
  return list;
}

Json template_of(const TokenizerDefinition& definition) {
  if (definition.prefix.empty() && definition.suffix.empty()) return nullptr;
  Json single = Json::array(), specials = Json::object();
  const auto put = [&](const std::vector<std::int32_t>& ids) {
    for (const std::int32_t id : ids) {
      const std::string& token = definition.pieces[static_cast<std::size_t>(id)];
      single.push_back({{"SpecialToken", {{"id", token}, {"type_id", 0}}}});
      specials[token] = {{"id", token}, {"ids", {id}}, {"tokens", {token}}};
    }
  };
  put(definition.prefix);
  single.push_back({{"Sequence", {{"id", "A"}, {"type_id", 0}}}});
  Json pair = single;
  put(definition.suffix);
  pair = single;
  pair.push_back({{"Sequence", {{"id", "B"}, {"type_id", 1}}}});
  for (const std::int32_t id : definition.suffix) {
    const std::string& token = definition.pieces[static_cast<std::size_t>(id)];
    pair.push_back({{"SpecialToken", {{"id", token}, {"type_id", 1}}}});
  }
  return {{"type", "TemplateProcessing"},
          {"single", single},
          {"pair", pair},
          {"special_tokens", specials}};
}

Json optional_string(const std::optional<std::string>& text) {
  return text ? Json(*text) : Json(nullptr);
}

const SpaceSplit& spaces_of(const TokenizerDefinition& definition) {
  const auto* characters = std::get_if<CharacterPairModel>(&definition.model);
  return characters ? characters->spaces : std::get<UnigramModel>(definition.model).spaces;
}

// The parts of the file before "model", which is long and written piece by piece.
Json head(const TokenizerDefinition& definition) {
  Json json = {{"version", "1.0"},
               {"truncation", nullptr},
               {"padding", nullptr},
               {"added_tokens", added_tokens(definition)}};
  if (const auto* model = std::get_if<WordPieceModel>(&definition.model)) {
    const Json accents = model->strip_accents ? Json(*model->strip_accents) : Json(nullptr);
    json["normalizer"] = {{"type", "BertNormalizer"},
                          {"clean_text", model->clean_text},
                          {"handle_chinese_chars", model->handle_chinese},
                          {"strip_accents", accents},
                          {"lowercase", model->lowercase}};
    json["pre_tokenizer"] = {{"type", "BertPreTokenizer"}};
    json["decoder"] = {{"type", "WordPiece"},
                       {"prefix", definition.decoder.prefix},
                       {"cleanup", definition.decoder.clean_up}};
  } else {
    json["normalizer"] = write_normalizer_steps(definition.normalizer);
    if (const auto* bytes = std::get_if<BytePairModel>(&definition.model)) {
      json["pre_tokenizer"] = write_byte_level(*bytes);
      json["decoder"] = write_byte_level({.add_prefix_space = true});
    } else {
      json["pre_tokenizer"] = write_space_split(spaces_of(definition));
      json["decoder"] = write_decoder_steps(definition.decoder.steps);
    }
  }
  if (!definition.decoder.joins) json["decoder"] = nullptr;
  json["post_processor"] = template_of(definition);
  return json;
}

template <typename Model>
Json bpe_options(const Model& model, bool byte_fallback, const std::string& word_end = {}) {
  return {{"type", "BPE"},
          {"dropout", nullptr},
          {"unk_token", optional_string(model.unknown)},
          {"continuing_subword_prefix", nullptr},
          {"end_of_word_suffix", word_end.empty() ? Json(nullptr) : Json(word_end)},
          {"fuse_unk", model.fuse_unknown},
          {"byte_fallback", byte_fallback},
          {"ignore_merges", model.ignore_merges}};
}

Json model_options(const TokenizerDefinition& definition) {
  if (const auto* model = std::get_if<WordPieceModel>(&definition.model)) {
    return {{"type", "WordPiece"},
            {"unk_token", model->unknown},
            {"continuing_subword_prefix", model->prefix},
            {"max_input_chars_per_word", model->max_characters}};
  }
  if (const auto* model = std::get_if<UnigramModel>(&definition.model)) {
    return {{"type", "Unigram"},
            {"unk_id", model->unknown ? Json(*model->unknown) : Json(nullptr)},
            {"byte_fallback", model->byte_fallback}};
  }
  if (const auto* model = std::get_if<CharacterPairModel>(&definition.model)) {
    return bpe_options(*model, model->byte_fallback);
  }
  const auto& model = std::get<BytePairModel>(definition.model);
  return bpe_options(model, false, model.word_end);
}

std::string vocabulary(const TokenizerDefinition& definition) {
  std::string text;
  for (std::int32_t id = 0; id < definition.model_size; ++id) {
    const std::string& piece = definition.pieces[static_cast<std::size_t>(id)];
    if (piece.empty()) continue;
    text += (text.empty() ? "\n      " : ",\n      ") + quoted(piece) + ": " + std::to_string(id);
  }
  return "{" + text + "\n    }";
}

std::string scored_vocabulary(const TokenizerDefinition& definition) {
  const auto& scores = std::get<UnigramModel>(definition.model).scores;
  std::string text;
  for (std::size_t id = 0; id < scores.size(); ++id) {
    text += (id == 0 ? "\n      " : ",\n      ") + Json{definition.pieces[id], scores[id]}.dump();
  }
  return "[" + text + "\n    ]";
}

const std::vector<PairMerge>* merges_of(const TokenizerDefinition& definition) {
  if (const auto* model = std::get_if<BytePairModel>(&definition.model)) return &model->merges;
  const auto* model = std::get_if<CharacterPairModel>(&definition.model);
  return model ? &model->merges : nullptr;
}

std::string merges(const TokenizerDefinition& definition) {
  std::string text;
  for (const auto& merge : *merges_of(definition)) {
    const std::string& left = definition.pieces[static_cast<std::size_t>(merge.left)];
    const std::string& right = definition.pieces[static_cast<std::size_t>(merge.right)];
    text += (text.empty() ? "\n      [" : ",\n      [") + quoted(left) + ", " + quoted(right) + "]";
  }
  return "[" + text + "\n    ]";
}

// The members of an object without its closing brace, to be continued.
std::string open_object(const Json& object, int depth) {
  std::string text = object.dump(2);
  text.resize(text.rfind('\n'));
  std::string indented;
  for (const char c : text) {
    indented += c;
    if (c == '\n') indented.append(static_cast<std::size_t>(depth), ' ');
  }
  return indented;
}

}  // namespace

std::string write_tokenizer_json(const TokenizerDefinition& definition) {
  std::string text = open_object(head(definition), 0);
  text += ",\n  \"model\": " + open_object(model_options(definition), 2);
  const bool scored = std::holds_alternative<UnigramModel>(definition.model);
  text += ",\n    \"vocab\": " + (scored ? scored_vocabulary(definition) : vocabulary(definition));
  if (merges_of(definition)) text += ",\n    \"merges\": " + merges(definition);
  return text + "\n  }\n}\n";
}

std::string write_tokenizer_config(const TokenizerDefinition& definition) {
  Json added = Json::object();
  for (const auto& [id, token] : definition.added) {
    added[std::to_string(id)] = flags_of(token);
  }
  Json json = {{"tokenizer_class", "PreTrainedTokenizerFast"},
               {"clean_up_tokenization_spaces", definition.clean_up_spaces},
               {"added_tokens_decoder", added}};
  for (const auto& [role, token] : definition.roles) json[role] = token;
  if (!definition.chat_template.empty()) json["chat_template"] = definition.chat_template;
  return json.dump(2) + "\n";
}

}  // namespace blip2
