#include <algorithm>
#include <cmath>
#include <utility>

#include "blip2/base/error.h"
#include "blip2/base/file.h"
#include "blip2/io/gguf.h"
#include "blip2/io/json.h"
#include "blip2/io/members.h"
#include "blip2/text/sentencepiece_internal.h"
#include "blip2/text/tokenizer_config_internal.h"
#include "blip2/text/tokenizer_json_internal.h"
#include "blip2/text/unicode.h"
#include "blip2/text/vocabulary.h"

namespace blip2 {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

std::string_view trim_end(std::string_view text) {
  std::size_t end = 0;
  for (std::size_t at = 0; at < text.size();) {
    const CodePoint c = decode_utf8(text.substr(at));
    at += c.bytes;
    if (!is_whitespace(c.value)) end = at;
  }
  return text.substr(0, end);
}

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    lines.push_back(line);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

// One token a line; of equal lines the last counts, as in `tokenizers`.
std::vector<std::string> vocab_lines(std::string_view text) {
  std::vector<std::string> pieces;
  TokenIds ids;
  for (const std::string_view line : lines_of(text)) {
    const auto id = static_cast<std::int32_t>(pieces.size());
    pieces.emplace_back(trim_end(line));
    const auto [entry, is_new] = ids.emplace(pieces.back(), id);
    if (!is_new) pieces[static_cast<std::size_t>(std::exchange(entry->second, id))].clear();
  }
  return pieces;
}

// The roles' tokens that a class of transformers has by default, below what the config says.
json with_defaults(json defaults, const json& config) {
  defaults.update(config);
  return defaults;
}

// Whether vocab.json and merges.txt are CLIP's: by the class that tokenizer_config.json names or,
// if it names none, by the vocabulary.
bool is_clip(const json& config, const TokenizerDefinition& definition) {
  const auto name = member_or<std::string>(config, "tokenizer_class", "", definition.where);
  if (!name.empty()) return name.starts_with("CLIPTokenizer");
  return find_id(definition.ids, "<|startoftext|>") && find_id(definition.ids, "a</w>");
}

// As transformers' CLIPTokenizer builds it.
void set_clip_pipeline(const json& config, BytePairModel model, TokenizerDefinition& definition) {
  using Kind = NormalizerStep::Kind;
  const json options = with_defaults({{"unk_token", "<|endoftext|>"},
                                      {"bos_token", "<|startoftext|>"},
                                      {"eos_token", "<|endoftext|>"},
                                      {"pad_token", "<|endoftext|>"}},
                                     config);
  definition.normalizer = {{Kind::nfc}, {Kind::replace_white, "", " "}, {Kind::lower_case}};
  model.pattern = SplitPattern::clip_special;
  model.word_end = "</w>";
  apply_tokenizer_config(options, definition, definition.where);
  model.unknown = definition.roles.at("unk_token");
  definition.model = std::move(model);
  definition.prefix = {*find_id(definition.ids, definition.roles.at("bos_token"))};
  definition.suffix = {*find_id(definition.ids, definition.roles.at("eos_token"))};
}

// The token of a GGUF id key, or empty if there is none.
std::string gguf_token(const GgufFile& file, const std::string& key,
                       const std::vector<std::string>& pieces) {
  const auto id = file.integer("tokenizer.ggml." + key);
  if (!id) return {};
  if (*id >= pieces.size()) {
    throw Error("tokenizer.ggml." + key + " is " + std::to_string(*id) + " but there are " +
                    std::to_string(pieces.size()) + " tokens",
                file.path().string());
  }
  return pieces[*id];
}

// How the text is cut before the words, as `pre` names it.
void set_gguf_split(const GgufFile& file, BytePairModel& model) {
  const std::string pre = file.string("tokenizer.ggml.pre").value_or("default");
  const auto is = [&](std::initializer_list<const char*> names) {
    return std::find(names.begin(), names.end(), pre) != names.end();
  };
  if (is({"smollm"})) {
    model.digits = DigitSplit::single;
  } else if (is({"llama3", "llama-v3", "llama-bpe", "smaug-bpe", "dbrx"})) {
    model.pattern = SplitPattern::llama3;
    model.split_words = false;
  } else if (is({"qwen2", "deepseek-r1-qwen"})) {
    model.pattern = SplitPattern::qwen2;
    model.split_words = false;
  } else if (is({"gpt-4o"})) {
    model.pattern = SplitPattern::o200k;
    model.split_words = false;
  } else if (is({"tekken"})) {
    model.pattern = SplitPattern::tekken;
    model.split_words = false;
  } else if (!is({"gpt-2", "gpt2", "default"})) {
    throw Error("tokenizer.ggml.pre is \"" + pre + "\"", file.path().string(),
                "supported: gpt-2, smollm, llama-bpe, smaug-bpe, dbrx, qwen2, gpt-4o, tekken");
  }
}

// Control tokens are special, user-defined ones are only added.
void add_gguf_tokens(const GgufFile& file, TokenizerDefinition& definition) {
  constexpr std::int32_t kControl = 3, kUserDefined = 4;
  const auto* types = file.integers("tokenizer.ggml.token_type");
  if (!types) return;
  if (types->size() != definition.pieces.size()) {
    throw Error("tokenizer.ggml.token_type has " + std::to_string(types->size()) +
                    " entries, tokenizer.ggml.tokens " + std::to_string(definition.pieces.size()),
                file.path().string());
  }
  for (std::size_t i = 0; i < types->size(); ++i) {
    const std::string& piece = definition.pieces[i];
    if (piece.empty() || ((*types)[i] != kControl && (*types)[i] != kUserDefined)) continue;
    AddedToken token;
    token.content = piece;
    token.special = (*types)[i] == kControl;
    definition.add(std::move(token));
  }
}

const std::vector<std::string>& gguf_strings(const GgufFile& file, const char* key) {
  if (const auto* list = file.strings(key)) return *list;
  throw Error(std::string("no ") + key, file.path().string(), "the file has no tokenizer");
}

json gguf_config(const GgufFile& file, const std::vector<std::string>& pieces) {
  json config = json::object();
  for (const auto& [key, role] : {std::pair{"bos_token_id", "bos_token"},
                                  {"eos_token_id", "eos_token"},
                                  {"unknown_token_id", "unk_token"},
                                  {"padding_token_id", "pad_token"}}) {
    if (std::string token = gguf_token(file, key, pieces); !token.empty()) config[role] = token;
  }
  for (const char* key : {"add_bos_token", "add_eos_token"}) {
    if (const auto value = file.boolean(std::string("tokenizer.ggml.") + key)) config[key] = *value;
  }
  if (auto text = file.string("tokenizer.chat_template")) config["chat_template"] = *text;
  return config;
}

}  // namespace

TokenizerDefinition read_vocab_txt(const fs::path& vocab, const json& config) {
  TokenizerDefinition definition;
  definition.where = vocab.string();
  definition.set_pieces(vocab_lines(to_valid_utf8(read_file(vocab))));
  const json options = with_defaults({{"unk_token", "[UNK]"},
                                      {"sep_token", "[SEP]"},
                                      {"pad_token", "[PAD]"},
                                      {"cls_token", "[CLS]"},
                                      {"mask_token", "[MASK]"}},
                                     config);
  WordPieceModel model;
  model.lowercase = member_or(options, "do_lower_case", true, definition.where);
  model.handle_chinese = member_or(options, "tokenize_chinese_chars", true, definition.where);
  read_member(model.strip_accents, options, "strip_accents", definition.where);
  apply_tokenizer_config(options, definition, definition.where);
  model.unknown = definition.roles.at("unk_token");
  definition.model = model;
  definition.prefix = {*find_id(definition.ids, definition.roles.at("cls_token"))};
  definition.suffix = {*find_id(definition.ids, definition.roles.at("sep_token"))};
  return definition;
}

TokenizerDefinition read_vocab_and_merges(const fs::path& vocab, const fs::path& merges,
                                          const json& config) {
  TokenizerDefinition definition;
  definition.where = vocab.string();
  definition.set_pieces(read_vocabulary(read_json(vocab), vocab.string()));
  const std::string text = to_valid_utf8(read_file(merges));
  json list = json::array();
  for (const std::string_view line : lines_of(text)) list.push_back(std::string(line));
  BytePairModel model;
  model.merges = read_merges(list, definition.ids, merges.string() + ": line");
  if (is_clip(config, definition)) {
    set_clip_pipeline(config, std::move(model), definition);
    return definition;
  }
  const json options = with_defaults({{"unk_token", "<|endoftext|>"},
                                      {"bos_token", "<|endoftext|>"},
                                      {"eos_token", "<|endoftext|>"}},
                                     config);
  model.add_prefix_space = member_or(options, "add_prefix_space", false, definition.where);
  definition.model = std::move(model);
  apply_tokenizer_config(options, definition, definition.where);
  apply_added_ends(options, definition, definition.where);
  return definition;
}

// Byte-level BPE.
void read_gguf_bytes(const GgufFile& file, TokenizerDefinition& definition) {
  const std::string merges = "tokenizer.ggml.merges";
  BytePairModel model;
  model.merges = read_merges(gguf_strings(file, merges.c_str()), definition.ids,
                             definition.where + ": " + merges);
  set_gguf_split(file, model);
  model.add_prefix_space = model.pattern == SplitPattern::none &&
                           file.boolean("tokenizer.ggml.add_space_prefix").value_or(false);
  definition.model = std::move(model);
}

// SentencePiece's BPE: merges from the file or, as usual, from the tokens' scores.
void read_gguf_characters(const GgufFile& file, TokenizerDefinition& definition) {
  std::vector<PairMerge> merges;
  if (const auto* list = file.strings("tokenizer.ggml.merges")) {
    merges = read_merges(*list, definition.ids, definition.where + ": tokenizer.ggml.merges");
  } else {
    const auto* scores = file.numbers("tokenizer.ggml.scores");
    if (!scores || scores->size() != definition.pieces.size()) {
      throw Error("expected " + std::to_string(definition.pieces.size()) +
                      " numbers as tokenizer.ggml.scores, got " +
                      std::to_string(scores ? scores->size() : 0),
                  definition.where);
    }
    std::vector<float> values(scores->begin(), scores->end());
    if (!std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); })) {
      throw Error("tokenizer.ggml.scores: a score is not a number", definition.where);
    }
    merges = merges_of_vocabulary(definition, values);
  }
  const bool prepends = file.boolean("tokenizer.ggml.add_space_prefix").value_or(true);
  set_llama_pipeline(definition, std::move(merges),
                     prepends ? SpaceSplit::Prepend::first : SpaceSplit::Prepend::never);
}

TokenizerDefinition read_gguf_tokenizer(const fs::path& path) {
  const auto file = open_gguf(path);
  const std::string kind = file->string("tokenizer.ggml.model").value_or("none");
  TokenizerDefinition definition;
  definition.where = path.string();
  definition.chat_template_where = path.string() + ": tokenizer.chat_template";
  const auto& tokens = gguf_strings(*file, "tokenizer.ggml.tokens");
  json config;
  if (kind == "gpt2") {
    definition.set_pieces(tokens);
    read_gguf_bytes(*file, definition);
    config = gguf_config(*file, definition.pieces);
  } else if (kind == "llama") {
    definition.set_pieces(tokens);
    read_gguf_characters(*file, definition);
    config = with_defaults({{"add_bos_token", true}}, gguf_config(*file, definition.pieces));
  } else {
    throw Error("tokenizer.ggml.model is \"" + kind + "\"", path.string(),
                "supported: gpt2 (byte-level BPE), llama (SentencePiece BPE)");
  }
  add_gguf_tokens(*file, definition);
  apply_tokenizer_config(config, definition, definition.where);
  apply_chat_template(config, definition);
  apply_added_ends(config, definition, definition.where);
  return definition;
}

}  // namespace blip2
