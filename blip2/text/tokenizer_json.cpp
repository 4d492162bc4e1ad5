#include "blip2/text/tokenizer_json_internal.h"

#include <algorithm>

#include "blip2/base/error.h"
#include "blip2/io/members.h"
#include "blip2/text/tokenizer_parts_internal.h"
#include "blip2/text/vocabulary.h"

namespace blip2 {
namespace {

using nlohmann::json;

void read_normalizer(const json& value, WordPieceModel& model, const std::string& where) {
  const std::string type = type_of_part(value, where);
  if (type.empty()) {
    model.clean_text = model.handle_chinese = model.lowercase = false;
  } else if (type == "BertNormalizer") {
    model.clean_text = member_or(value, "clean_text", true, where);
    model.handle_chinese = member_or(value, "handle_chinese_chars", true, where);
    model.lowercase = member_or(value, "lowercase", true, where);
    read_member(model.strip_accents, value, "strip_accents", where);
  } else {
    refuse_part("normalizer", value, where, "BertNormalizer for WordPiece");
  }
}

WordPieceModel read_word_piece(const json& root, const std::string& where) {
  const json& model = root["model"];
  WordPieceModel result;
  read_normalizer(root.value("normalizer", json()), result, where + ": normalizer");
  const json split = root.value("pre_tokenizer", json());
  if (type_of_part(split, where + ": pre_tokenizer") != "BertPreTokenizer") {
    refuse_part("pre_tokenizer", split, where, "BertPreTokenizer for WordPiece");
  }
  const std::string place = where + ": model";
  result.unknown = string_member(model, "unk_token", place);
  result.prefix = member_or<std::string>(model, "continuing_subword_prefix", "##", place);
  result.max_characters = count_member(model, "max_input_chars_per_word", 100, place);
  return result;
}

void refuse_bpe_options(const json& model, bool bytes, const std::string& where) {
  const auto refuse = [&](const char* key) {
    const json value = model.value(key, json());
    if (!value.is_null() && value != "") refuse_part(key, value, where, "none");
  };
  refuse("continuing_subword_prefix");
  if (!bytes) refuse("end_of_word_suffix");
  const json dropout = model.value("dropout", json());
  if (!dropout.is_null() && dropout != 0) refuse_part("dropout", dropout, where, "null");
}

// What byte-level BPE and BPE over characters have in common.
template <typename Model>
void read_bpe_options(const json& model, const TokenIds& ids, const std::string& where,
                      Model& result) {
  refuse_bpe_options(model, std::is_same_v<Model, BytePairModel>, where);
  result.merges = read_merges(list_member(model, "merges", where), ids, where + ".merges");
  result.ignore_merges = member_or(model, "ignore_merges", false, where);
  result.fuse_unknown = member_or(model, "fuse_unk", false, where);
  read_member(result.unknown, model, "unk_token", where);
}

void read_bpe(const json& root, TokenizerDefinition& definition, const std::string& where) {
  const json& model = root["model"];
  const json split = root.value("pre_tokenizer", json());
  const std::string place = where + ": pre_tokenizer";
  if (!is_byte_level(split, place)) {
    CharacterPairModel result;
    read_bpe_options(model, definition.ids, where + ": model", result);
    result.byte_fallback = member_or(model, "byte_fallback", false, where + ": model");
    result.spaces = read_space_split(split, place);
    definition.model = std::move(result);
    return;
  }
  BytePairModel result;
  read_bpe_options(model, definition.ids, where + ": model", result);
  if (member_or(model, "byte_fallback", false, where + ": model")) {
    refuse_part("byte_fallback", true, where, "false with ByteLevel");
  }
  read_member(result.word_end, model, "end_of_word_suffix", where + ": model");
  if (!result.word_end.empty() && result.ignore_merges) {
    refuse_part("ignore_merges", true, where, "false with end_of_word_suffix");
  }
  read_byte_level(split, result, place);
  definition.model = std::move(result);
}

// The list of [token, score] of a unigram model.
std::vector<std::string> read_scored_vocabulary(const json& list, UnigramModel& model,
                                                const std::string& where) {
  std::vector<std::string> pieces;
  for (std::size_t i = 0; i < list.size(); ++i) {
    const json& entry = list[i];
    if (!entry.is_array() || entry.size() != 2 || !entry[0].is_string() || !entry[1].is_number()) {
      throw Error("expected [token, score], got " + entry.dump().substr(0, 80),
                  where + "[" + std::to_string(i) + "]");
    }
    pieces.push_back(entry[0]);
    model.scores.push_back(entry[1]);
  }
  return pieces;
}

void read_unigram(const json& root, TokenizerDefinition& definition, const std::string& where) {
  const json& model = root["model"];
  const std::string place = where + ": model";
  UnigramModel result;
  definition.set_pieces(
      read_scored_vocabulary(list_member(model, "vocab", place), result, place + ".vocab"));
  const std::int32_t unknown = count_member(model, "unk_id", -1, place);
  if (unknown >= 0) result.unknown = unknown;
  result.byte_fallback = member_or(model, "byte_fallback", false, place);
  result.spaces = read_space_split(root.value("pre_tokenizer", json()), where + ": pre_tokenizer");
  definition.model = std::move(result);
}

void read_decoder(const json& value, TokenizerDefinition& definition, const std::string& where) {
  const std::string type = type_of_part(value, where);
  DecoderOptions& options = definition.decoder;
  options.joins = !type.empty();
  if (type.empty()) return;
  if (std::holds_alternative<WordPieceModel>(definition.model)) {
    if (type != "WordPiece") refuse_part("decoder", value, where, "WordPiece for WordPiece, null");
    options.prefix = member_or<std::string>(value, "prefix", "##", where);
    options.clean_up = member_or(value, "cleanup", true, where);
  } else if (std::holds_alternative<BytePairModel>(definition.model)) {
    if (type != "ByteLevel") refuse_part("decoder", value, where, "ByteLevel for ByteLevel, null");
  } else {
    options.steps = read_decoder_steps(value, where);
  }
}

// `tokenizers` goes by where a part began in the text as it was given.
void refuse_first_after_strip(const TokenizerDefinition& definition, const json& split,
                              const std::string& where) {
  const SpaceSplit* spaces = nullptr;
  if (const auto* model = std::get_if<UnigramModel>(&definition.model)) spaces = &model->spaces;
  if (const auto* model = std::get_if<CharacterPairModel>(&definition.model)) {
    spaces = &model->spaces;
  }
  if (!spaces || spaces->prepend != SpaceSplit::Prepend::first) return;
  for (const NormalizerStep& step : definition.normalizer) {
    if (step.kind == NormalizerStep::Kind::strip && step.left) {
      refuse_part("pre_tokenizer", split, where, "prepend_scheme first without Strip on the left");
    }
  }
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
  const json& specials = object_member(value, "special_tokens", where);
  for (const json& item : list_member(value, "single", where)) {
    if (item.contains("Sequence")) {
      behind = true;
      continue;
    }
    const std::string name = string_member(object_member(item, "SpecialToken", where), "id", where);
    for (const json& id : list_member(object_member(specials, name, where), "ids", where)) {
      auto& side = behind ? definition.suffix : definition.prefix;
      side.push_back(checked_id(id, definition, where));
    }
  }
}

// BERT's and RoBERTa's own post-processors: "cls" and "sep" as [token, id].
void read_pair_template(const json& value, TokenizerDefinition& definition,
                        const std::string& where) {
  const auto id_of = [&](const char* key) {
    const json& pair = list_member(value, key, where);
    if (pair.size() != 2) throw Error(std::string("expected [token, id] as ") + key, where);
    return checked_id(pair[1], definition, where);
  };
  definition.prefix.push_back(id_of("cls"));
  definition.suffix.push_back(id_of("sep"));
}

void read_post_processor(const json& value, TokenizerDefinition& definition,
                         const std::string& where) {
  const std::string type = type_of_part(value, where);
  if (type == "Sequence") {
    for (const json& step : list_member(value, "processors", where)) {
      read_post_processor(step, definition, where);
    }
  } else if (type == "TemplateProcessing") {
    read_template(value, definition, where);
  } else if (type == "BertProcessing" || type == "RobertaProcessing") {
    read_pair_template(value, definition, where);
  } else if (!type.empty() && type != "ByteLevel") {
    refuse_part("post_processor", value, where, "TemplateProcessing, BertProcessing, ByteLevel");
  }
}

void read_added_tokens(const json& list, TokenizerDefinition& definition,
                       const std::string& where) {
  if (list.is_null()) return;
  if (!list.is_array()) throw Error("expected a list", where);
  for (std::size_t i = 0; i < list.size(); ++i) {
    const std::string place = where + "[" + std::to_string(i) + "]";
    const AddedToken token = read_added_token(list[i], place);
    const std::int32_t id = count_member(list[i], "id", -1, place);
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
  token.content = string_member(value, "content", where);
  if (token.content.empty()) throw Error("an added token is empty", where);
  token.single_word = member_or(value, "single_word", false, where);
  token.lstrip = member_or(value, "lstrip", false, where);
  token.rstrip = member_or(value, "rstrip", false, where);
  token.special = member_or(value, "special", false, where);
  token.normalized = member_or(value, "normalized", !token.special, where);
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

std::vector<PairMerge> read_merges(const json& list, const TokenIds& ids,
                                   const std::string& where) {
  std::vector<PairMerge> merges;
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
  const json& model = object_member(root, "model", where);
  TokenizerDefinition definition;
  definition.where = where;
  // Old files leave the model's type out.
  const std::string type = member_or<std::string>(
      model, "type", model.contains("merges") ? "BPE" : "WordPiece", where + ": model");
  if (type == "Unigram") {
    read_unigram(root, definition, where);
  } else if (type == "WordPiece" || type == "BPE") {
    definition.set_pieces(
        read_vocabulary(object_member(model, "vocab", where + ": model"), where + ": model.vocab"));
    if (type == "BPE") {
      read_bpe(root, definition, where);
    } else {
      definition.model = read_word_piece(root, where);
    }
  } else {
    refuse_part("model.type", type, where, "WordPiece, BPE, Unigram");
  }
  if (type != "WordPiece") {
    definition.normalizer =
        read_normalizer_steps(root.value("normalizer", json()), where + ": normalizer");
    refuse_first_after_strip(definition, root.value("pre_tokenizer", json()),
                             where + ": pre_tokenizer");
  }
  read_added_tokens(root.value("added_tokens", json()), definition, where + ": added_tokens");
  read_decoder(root.value("decoder", json()), definition, where + ": decoder");
  read_post_processor(root.value("post_processor", json()), definition, where + ": post_processor");
  return definition;
}

}  // namespace blip2
