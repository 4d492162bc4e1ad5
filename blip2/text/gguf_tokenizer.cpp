#include "blip2/text/gguf_tokenizer.h"

#include <algorithm>
#include <span>
#include <string_view>

#include "blip2/base/error.h"
#include "blip2/base/log.h"

namespace blip2 {
namespace {

// llama.cpp's llama_token_type.
enum TokenType : std::int32_t { kNormal = 1, kUnknown, kControl, kUserDefined, kUnused, kByte };

std::int32_t unknown_id(const TokenizerDefinition& definition) {
  if (const auto* model = std::get_if<UnigramModel>(&definition.model)) {
    return model->unknown.value_or(-1);
  }
  const auto* characters = std::get_if<CharacterPairModel>(&definition.model);
  if (characters && characters->unknown) {
    return find_id(definition.ids, *characters->unknown).value_or(-1);
  }
  const auto role = definition.roles.find("unk_token");
  if (role == definition.roles.end()) return -1;
  return find_id(definition.ids, role->second).value_or(-1);
}

bool falls_back_to_bytes(const TokenizerDefinition& definition) {
  if (const auto* model = std::get_if<UnigramModel>(&definition.model)) return model->byte_fallback;
  const auto* characters = std::get_if<CharacterPairModel>(&definition.model);
  return characters && characters->byte_fallback;
}

// A token as llama.cpp has it: it finds tokens that are added and not special in the text as it is,
// in which SentencePiece's spaces are spaces.
std::string spelled(const TokenizerDefinition& definition, std::int32_t id) {
  const std::string& piece = definition.pieces[static_cast<std::size_t>(id)];
  const auto added = definition.added.find(id);
  const bool plain = added != definition.added.end() && !added->second.special;
  if (!plain || !std::holds_alternative<CharacterPairModel>(definition.model)) return piece;
  constexpr std::string_view kSpace = "▁";
  std::string text;
  for (std::size_t at = 0; at < piece.size();) {
    const bool space = std::string_view(piece).substr(at).starts_with(kSpace);
    text += space ? ' ' : piece[at];
    at += space ? kSpace.size() : 1;
  }
  return text;
}

// The tokens by id, and what each one is.
class Words {
 public:
  Words(const TokenizerDefinition& definition, std::int32_t count) : definition_(definition) {
    const bool byte_level = std::holds_alternative<BytePairModel>(definition.model);
    const std::int32_t unknown = byte_level ? -1 : unknown_id(definition);
    const bool bytes = falls_back_to_bytes(definition);
    for (std::int32_t id = 0; id < count; ++id) add(id, unknown, bytes);
  }

  std::vector<std::string> pieces;
  std::vector<std::int32_t> types;

 private:
  void add(std::int32_t id, std::int32_t unknown, bool bytes) {
    const auto at = static_cast<std::size_t>(id);
    const bool there = at < definition_.pieces.size() && !definition_.pieces[at].empty();
    if (!there) {
      std::string name = "[PAD" + std::to_string(id) + "]";
      while (definition_.ids.contains(name)) name += "_";
      pieces.push_back(std::move(name));
      types.push_back(kUnused);
      return;
    }
    const std::string& piece = definition_.pieces[at];
    pieces.push_back(spelled(definition_, id));
    const auto added = definition_.added.find(id);
    TokenType type = kNormal;
    if (added != definition_.added.end()) type = added->second.special ? kControl : kUserDefined;
    if (id == unknown) type = kUnknown;
    if (bytes && fallback_byte(piece) >= 0) type = kByte;
    types.push_back(type);
  }

  const TokenizerDefinition& definition_;
};

std::vector<std::string> merge_lines(const TokenizerDefinition& definition,
                                     const std::vector<PairMerge>& merges, std::int32_t count) {
  std::vector<std::string> lines;
  const auto piece = [&](std::int32_t id) -> const std::string& {
    return definition.pieces[static_cast<std::size_t>(id)];
  };
  for (const PairMerge& merge : merges) {
    if (std::max({merge.left, merge.right, merge.merged}) >= count) {
      throw Error("a merge needs a token from " + std::to_string(count) +
                      " on, for which the model has no embedding",
                  definition.where);
    }
    const auto stays = [&](std::int32_t id) { return spelled(definition, id) == piece(id); };
    if (!stays(merge.left) || !stays(merge.right) || !stays(merge.merged)) continue;
    lines.push_back(piece(merge.left) + " " + piece(merge.right));
  }
  return lines;
}

// What llama.cpp calls the way in which a text is cut; empty if it has no name for it.
std::string split_name(const BytePairModel& model) {
  if (model.pattern == SplitPattern::llama3) return "llama-bpe";
  if (model.pattern == SplitPattern::qwen2) return "qwen2";
  if (model.pattern == SplitPattern::o200k) return "gpt-4o";
  if (model.pattern == SplitPattern::tekken) return "tekken";
  if (model.pattern != SplitPattern::none || !model.word_end.empty()) return {};  // CLIP's
  if (!model.split_words || model.digits == DigitSplit::runs) return {};
  return model.digits == DigitSplit::single ? "smollm" : "gpt-2";
}

// A token's score by its first merge: llama.cpp merges the best scored pair first.
std::vector<float> scores_of(const std::vector<PairMerge>& merges, std::int32_t count) {
  std::vector<float> scores(static_cast<std::size_t>(count), 0.0f);
  for (std::size_t i = merges.size(); i-- > 0;) {
    scores[static_cast<std::size_t>(merges[i].merged)] = -static_cast<float>(i + 1);
  }
  return scores;
}

void add_model(const TokenizerDefinition& definition, const BytePairModel& model,
               std::int32_t count, GgufWriter& writer) {
  const std::string name = split_name(model);
  if (name.empty()) {
    log_warning("llama.cpp has no name for how {} cuts texts; it will take its own way",
                definition.where);
  }
  writer.add("tokenizer.ggml.model", "gpt2");
  if (!name.empty()) writer.add("tokenizer.ggml.pre", name);
  writer.add("tokenizer.ggml.merges", merge_lines(definition, model.merges, count));
  if (model.add_prefix_space) writer.add_flag("tokenizer.ggml.add_space_prefix", true);
}

// Whether a space is put before a text, by the model or by its normaliser.
bool prepends(const TokenizerDefinition& definition, const SpaceSplit& spaces) {
  const auto puts = [](const NormalizerStep& step) {
    return step.kind == NormalizerStep::Kind::prepend;
  };
  return (spaces.metaspace && spaces.prepend != SpaceSplit::Prepend::never) ||
         std::any_of(definition.normalizer.begin(), definition.normalizer.end(), puts);
}

void add_model(const TokenizerDefinition& definition, const CharacterPairModel& model,
               std::int32_t count, GgufWriter& writer) {
  writer.add("tokenizer.ggml.model", "llama");
  writer.add("tokenizer.ggml.pre", "default");
  writer.add("tokenizer.ggml.merges", merge_lines(definition, model.merges, count));
  writer.add("tokenizer.ggml.scores", scores_of(model.merges, count));
  writer.add_flag("tokenizer.ggml.add_space_prefix", prepends(definition, model.spaces));
}

void add_model(const TokenizerDefinition& definition, const UnigramModel& model, std::int32_t count,
               GgufWriter& writer) {
  std::vector<float> scores(model.scores.begin(), model.scores.end());
  scores.resize(static_cast<std::size_t>(count), 0.0f);
  writer.add("tokenizer.ggml.model", "t5");
  writer.add("tokenizer.ggml.pre", "default");
  writer.add("tokenizer.ggml.scores", scores);
  writer.add_flag("tokenizer.ggml.add_space_prefix", prepends(definition, model.spaces));
  writer.add_flag("tokenizer.ggml.remove_extra_whitespaces", model.spaces.white_space);
  for (const NormalizerStep& step : definition.normalizer) {
    if (!step.charsmap) continue;
    writer.add_bytes("tokenizer.ggml.precompiled_charsmap", step.charsmap->blob());
  }
}

void add_model(const TokenizerDefinition& definition, const WordPieceModel& /*model*/,
               std::int32_t /*count*/, GgufWriter& writer) {
  log_warning("llama.cpp has no language model with a WordPiece tokenizer ({})", definition.where);
  writer.add("tokenizer.ggml.model", "bert");
}

// Whether the text's first or last tokens are the one that has the role.
bool stands(const TokenizerDefinition& definition, const std::vector<std::int32_t>& around,
            const char* role) {
  const auto token = definition.roles.find(role);
  if (token == definition.roles.end()) return false;
  const auto id = find_id(definition.ids, token->second);
  return id && std::find(around.begin(), around.end(), *id) != around.end();
}

}  // namespace

void add_gguf_tokenizer(const TokenizerDefinition& definition, std::int32_t count,
                        GgufWriter& writer) {
  const Words words(definition, count);
  std::visit([&](const auto& model) { add_model(definition, model, count, writer); },
             definition.model);
  writer.add("tokenizer.ggml.tokens", words.pieces);
  writer.add("tokenizer.ggml.token_type", words.types);
  const std::int32_t unknown = unknown_id(definition);
  if (unknown >= 0 && unknown < count) {
    writer.add("tokenizer.ggml.unknown_token_id", static_cast<std::uint32_t>(unknown));
  }
  writer.add_flag("tokenizer.ggml.add_bos_token",
                  stands(definition, definition.prefix, "bos_token"));
  writer.add_flag("tokenizer.ggml.add_eos_token",
                  stands(definition, definition.suffix, "eos_token"));
  if (!definition.chat_template.empty()) {
    writer.add("tokenizer.chat_template", definition.chat_template);
  }
}

}  // namespace blip2
