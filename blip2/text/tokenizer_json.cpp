#include "blip2/text/tokenizer_json.h"

#include <algorithm>

#include "blip2/base/error.h"
#include "blip2/text/json_fields.h"
#include "blip2/text/vocabulary.h"

namespace blip2 {
namespace {

using nlohmann::json;

[[noreturn]] void refuse(const std::string& what, const json& value, const std::string& where,
                         const std::string& supported) {
  throw Error(what + " " + value.dump().substr(0, 200) + " is not supported", where,
              "supported: " + supported);
}

std::string type_of(const json& value, const std::string& where) {
  return value.is_null() ? "" : string_field(value, "type", where);
}

void read_normalizer(const json& value, WordPieceModel& model, const std::string& where) {
  const std::string type = type_of(value, where);
  if (type.empty()) {
    model.clean_text = model.handle_chinese = model.lowercase = false;
  } else if (type == "BertNormalizer") {
    model.clean_text = bool_field(value, "clean_text", true, where);
    model.handle_chinese = bool_field(value, "handle_chinese_chars", true, where);
    model.lowercase = bool_field(value, "lowercase", true, where);
    if (value.contains("strip_accents") && !value["strip_accents"].is_null()) {
      model.strip_accents = bool_field(value, "strip_accents", true, where);
    }
  } else {
    refuse("normalizer", value, where, "BertNormalizer for WordPiece, none for BPE");
  }
}

void read_byte_level(const json& value, BytePairModel& model, const std::string& where) {
  const std::string type = type_of(value, where);
  if (type == "Sequence") {
    for (const json& step : array_field(value, "pretokenizers", where)) {
      read_byte_level(step, model, where);
    }
  } else if (type == "Digits") {
    model.digits = bool_field(value, "individual_digits", false, where) ? DigitSplit::single
                                                                        : DigitSplit::runs;
  } else if (type == "ByteLevel") {
    model.add_prefix_space = bool_field(value, "add_prefix_space", true, where);
    model.split_words = bool_field(value, "use_regex", true, where);
  } else {
    refuse("pre_tokenizer", value, where, "ByteLevel, or Digits and ByteLevel in a Sequence");
  }
}

bool ends_with_byte_level(const json& value, const std::string& where) {
  if (type_of(value, where) != "Sequence") return type_of(value, where) == "ByteLevel";
  const json& steps = array_field(value, "pretokenizers", where);
  const auto is_byte_level = [&](const json& step) { return type_of(step, where) == "ByteLevel"; };
  const auto first = std::find_if(steps.begin(), steps.end(), is_byte_level);
  return first != steps.end() && std::next(first) == steps.end() && steps.size() <= 2;
}

WordPieceModel read_word_piece(const json& root, const std::string& where) {
  const json& model = root["model"];
  WordPieceModel result;
  read_normalizer(root.value("normalizer", json()), result, where + ": normalizer");
  const json split = root.value("pre_tokenizer", json());
  if (type_of(split, where + ": pre_tokenizer") != "BertPreTokenizer") {
    refuse("pre_tokenizer", split, where, "BertPreTokenizer for WordPiece");
  }
  const std::string place = where + ": model";
  result.unknown = string_field(model, "unk_token", place);
  result.prefix = string_field(model, "continuing_subword_prefix", place, "##");
  result.max_characters = integer_field(model, "max_input_chars_per_word", 100, place);
  return result;
}

void refuse_bpe_options(const json& model, const std::string& where) {
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    const json value = model.value(key, json());
    if (!value.is_null() && value != "") refuse(key, value, where, "none");
  }
  const json dropout = model.value("dropout", json());
  if (!dropout.is_null() && dropout != 0) refuse("dropout", dropout, where, "null");
  if (bool_field(model, "byte_fallback", false, where)) {
    refuse("byte_fallback", true, where, "false");
  }
}

BytePairModel read_byte_pair(const json& root, const TokenIds& ids, const std::string& where) {
  const json& model = root["model"];
  const std::string place = where + ": model";
  if (const json normalizer = root.value("normalizer", json()); !normalizer.is_null()) {
    refuse("normalizer", normalizer, where, "BertNormalizer for WordPiece, none for BPE");
  }
  refuse_bpe_options(model, place);
  BytePairModel result;
  const json split = root.value("pre_tokenizer", json());
  if (!ends_with_byte_level(split, where + ": pre_tokenizer")) {
    refuse("pre_tokenizer", split, where, "ByteLevel, or Digits and ByteLevel in a Sequence");
  }
  read_byte_level(split, result, where + ": pre_tokenizer");
  result.merges = read_merges(array_field(model, "merges", place), ids, place + ".merges");
  result.ignore_merges = bool_field(model, "ignore_merges", false, place);
  result.fuse_unknown = bool_field(model, "fuse_unk", false, place);
  if (const json unknown = model.value("unk_token", json()); !unknown.is_null()) {
    result.unknown = string_field(model, "unk_token", place);
  }
  return result;
}

DecoderOptions read_decoder(const json& value, bool word_piece, const std::string& where) {
  const std::string type = type_of(value, where);
  DecoderOptions options;
  options.joins = !type.empty();
  if (type == "WordPiece" && word_piece) {
    options.prefix = string_field(value, "prefix", where, "##");
    options.clean_up = bool_field(value, "cleanup", true, where);
  } else if (!type.empty() && (type != "ByteLevel" || word_piece)) {
    refuse("decoder", value, where, "WordPiece for WordPiece, ByteLevel for BPE, null");
  }
  return options;
}

std::int32_t checked_id(const json& value, const TokenizerDefinition& definition,
                        const std::string& where) {
  if (!value.is_number_integer() || value < 0 || value >= definition.pieces.size()) {
    throw Error("expected a token id below " + std::to_string(definition.pieces.size()) + ", got " +
                    value.dump().substr(0, 40),
                where);
  }
  return value.get<std::int32_t>();
}

void read_template(const json& value, TokenizerDefinition& definition, const std::string& where) {
  bool behind = false;
  const json& specials = object_field(value, "special_tokens", where);
  for (const json& item : array_field(value, "single", where)) {
    if (item.contains("Sequence")) {
      behind = true;
      continue;
    }
    const std::string name = string_field(object_field(item, "SpecialToken", where), "id", where);
    for (const json& id : array_field(object_field(specials, name, where), "ids", where)) {
      auto& side = behind ? definition.suffix : definition.prefix;
      side.push_back(checked_id(id, definition, where));
    }
  }
}

// BERT's and RoBERTa's own post-processors: "cls" and "sep" as [token, id].
void read_pair_template(const json& value, TokenizerDefinition& definition,
                        const std::string& where) {
  const auto id_of = [&](const char* key) {
    const json& pair = array_field(value, key, where);
    if (pair.size() != 2) throw Error(std::string("expected [token, id] as ") + key, where);
    return checked_id(pair[1], definition, where);
  };
  definition.prefix.push_back(id_of("cls"));
  definition.suffix.push_back(id_of("sep"));
}

void read_post_processor(const json& value, TokenizerDefinition& definition,
                         const std::string& where) {
  const std::string type = type_of(value, where);
  if (type == "Sequence") {
    for (const json& step : array_field(value, "processors", where)) {
      read_post_processor(step, definition, where);
    }
  } else if (type == "TemplateProcessing") {
    read_template(value, definition, where);
  } else if (type == "BertProcessing" || type == "RobertaProcessing") {
    read_pair_template(value, definition, where);
  } else if (!type.empty() && type != "ByteLevel") {
    refuse("post_processor", value, where, "TemplateProcessing, BertProcessing, ByteLevel");
  }
}

void read_added_tokens(const json& list, TokenizerDefinition& definition,
                       const std::string& where) {
  if (list.is_null()) return;
  if (!list.is_array()) throw Error("expected a list", where);
  for (std::size_t i = 0; i < list.size(); ++i) {
    const std::string place = where + "[" + std::to_string(i) + "]";
    const AddedToken token = read_added_token(list[i], place);
    const std::int32_t id = integer_field(list[i], "id", -1, place);
    const std::size_t before = definition.added.size();
    const std::int32_t given = definition.add(token);
    if (definition.added.size() == before) {
      throw Error("added token \"" + token.content + "\" is there twice", place);
    }
    if (id != given) {
      throw Error("added token \"" + token.content + "\" says id " + std::to_string(id) +
                      " but the vocabulary gives it " + std::to_string(given),
                  place);
    }
  }
}

}  // namespace

AddedToken read_added_token(const json& value, const std::string& where) {
  AddedToken token;
  token.content = string_field(value, "content", where);
  if (token.content.empty()) throw Error("an added token is empty", where);
  token.single_word = bool_field(value, "single_word", false, where);
  token.lstrip = bool_field(value, "lstrip", false, where);
  token.rstrip = bool_field(value, "rstrip", false, where);
  token.special = bool_field(value, "special", false, where);
  token.normalized = bool_field(value, "normalized", !token.special, where);
  return token;
}

std::vector<std::string> read_vocabulary(const json& object, const std::string& where) {
  if (!object.is_object()) throw Error("expected an object of token: id", where);
  // Some vocabularies leave ids free; a file cannot ask for much more than it holds.
  const std::size_t limit = object.size() + 65536;
  std::vector<std::string> pieces;
  for (const auto& [token, id] : object.items()) {
    if (!id.is_number_integer() || id < 0 || id >= limit) {
      throw Error("expected an id below " + std::to_string(limit) + " for token \"" + token +
                      "\", got " + id.dump().substr(0, 40),
                  where);
    }
    const auto at = id.get<std::size_t>();
    if (pieces.size() <= at) pieces.resize(at + 1);
    if (!pieces[at].empty()) {
      throw Error("tokens \"" + pieces[at] + "\" and \"" + token + "\" have the same id " +
                      std::to_string(at),
                  where);
    }
    pieces[at] = token;
  }
  return pieces;
}

std::vector<BytePairModel::Merge> read_merges(const json& list, const TokenIds& ids,
                                              const std::string& where) {
  std::vector<BytePairModel::Merge> merges;
  merges.reserve(list.size());
  for (std::size_t i = 0; i < list.size(); ++i) {
    const std::string place = where + "[" + std::to_string(i) + "]";
    const auto id_of = [&](std::string_view token) {
      if (const auto id = find_id(ids, token)) return *id;
      throw Error("merge of \"" + std::string(token) + "\", which is not in the vocabulary", place);
    };
    std::string left, right;
    const json& merge = list[i];
    if (merge.is_string()) {
      const auto& line = merge.get_ref<const std::string&>();
      if (line.starts_with("#version")) continue;
      const std::size_t space = line.find(' ');
      if (space == std::string::npos || line.find(' ', space + 1) != std::string::npos) {
        throw Error("expected two tokens and a space, got \"" + line.substr(0, 80) + "\"", place);
      }
      left = line.substr(0, space), right = line.substr(space + 1);
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() &&
               merge[1].is_string()) {
      left = merge[0], right = merge[1];
    } else {
      throw Error("expected \"a b\" or [\"a\", \"b\"], got " + merge.dump().substr(0, 80), place);
    }
    merges.push_back({id_of(left), id_of(right), id_of(left + right)});
  }
  return merges;
}

TokenizerDefinition read_tokenizer_json(const json& root, const std::string& where) {
  if (!root.is_object()) throw Error("expected an object", where);
  const json& model = object_field(root, "model", where);
  TokenizerDefinition definition;
  definition.where = where;
  definition.set_pieces(
      read_vocabulary(object_field(model, "vocab", where + ": model"), where + ": model.vocab"));
  // Old files leave the model's type out.
  const std::string type = string_field(model, "type", where + ": model",
                                        model.contains("merges") ? "BPE" : "WordPiece");
  if (type == "WordPiece") {
    definition.model = read_word_piece(root, where);
  } else if (type == "BPE") {
    definition.model = read_byte_pair(root, definition.ids, where);
  } else {
    refuse("model.type", type, where, "WordPiece, BPE");
  }
  read_added_tokens(root.value("added_tokens", json()), definition, where + ": added_tokens");
  definition.decoder =
      read_decoder(root.value("decoder", json()), type == "WordPiece", where + ": decoder");
  read_post_processor(root.value("post_processor", json()), definition, where + ": post_processor");
  return definition;
}

}  // namespace blip2
