#include <algorithm>
#include <tuple>

#include "blip2/base/error.h"
#include "blip2/base/file.h"
#include "blip2/io/members.h"
#include "blip2/text/sentencepiece_internal.h"
#include "blip2/text/tokenizer_config_internal.h"
#include "blip2/text/unicode.h"

namespace blip2 {
namespace {

using nlohmann::json;
using Type = SentencePieceModel::PieceType;

void add_special_pieces(const SentencePieceModel& model, TokenizerDefinition& definition) {
  for (const auto& piece : model.pieces) {
    if (piece.type != Type::control && piece.type != Type::user_defined) continue;
    AddedToken token;
    token.content = piece.text;
    token.special = piece.type == Type::control;
    definition.add(std::move(token));
  }
}

// The roles' tokens below what the config says.
json with_roles(const char* bos, const char* eos, const char* unknown, const char* pad,
                const json& config) {
  json roles = json::object();
  for (const auto& [role, token] : {std::pair{"bos_token", bos},
                                    {"eos_token", eos},
                                    {"unk_token", unknown},
                                    {"pad_token", pad}}) {
    if (token) roles[role] = token;
  }
  roles.update(config);
  return roles;
}

// T5Tokenizer: the sentinels <extra_id_99> … <extra_id_0> come after the file's tokens.
void make_t5(const SentencePieceModel& model, const json& config, TokenizerDefinition& definition) {
  constexpr std::int32_t kMostExtra = 65536;
  UnigramModel unigram;
  std::vector<std::string> pieces;
  for (const auto& piece : model.pieces) {
    pieces.push_back(piece.text);
    unigram.scores.push_back(piece.score);
  }
  const std::int32_t extra = count_member(config, "extra_ids", 100, definition.where);
  if (extra > kMostExtra) throw Error("extra_ids: more than 65536", definition.where);
  for (std::int32_t i = extra - 1; i >= 0; --i) {
    pieces.push_back("<extra_id_" + std::to_string(i) + ">");
    unigram.scores.push_back(0.0);
  }
  definition.set_pieces(std::move(pieces));
  unigram.unknown = model.unknown_id;
  unigram.spaces.white_space = unigram.spaces.metaspace = true;
  definition.model = std::move(unigram);
  if (!model.charsmap.empty()) {
    NormalizerStep step{NormalizerStep::Kind::charsmap};
    step.charsmap = std::make_shared<const Charsmap>(model.charsmap, definition.where);
    definition.normalizer = {step};
  }
  definition.decoder.steps = {{DecoderStep::Kind::metaspace, "▁", " "}};
  add_special_pieces(model, definition);
  for (std::int32_t i = 0; i < extra; ++i) {
    AddedToken token;
    token.content = "<extra_id_" + std::to_string(i) + ">";
    definition.add_if_missing(token);
  }
  const json roles = with_roles(nullptr, "</s>", "<unk>", "<pad>", config);
  apply_tokenizer_config(roles, definition, definition.where);
  const auto eos = definition.roles.find("eos_token");
  if (eos == definition.roles.end()) {
    throw Error("no eos_token to end a text with", definition.where);
  }
  definition.suffix = {*find_id(definition.ids, eos->second)};
}

// A "legacy" tokenizer puts a space before the text behind every special token too.
SpaceSplit::Prepend llama_prepend(const json& config, const std::string& where) {
  const bool legacy = member_or(config, "legacy", false, where);
  if (!member_or(config, "add_prefix_space", true, where)) return SpaceSplit::Prepend::never;
  return legacy ? SpaceSplit::Prepend::always : SpaceSplit::Prepend::first;
}

void make_llama(const SentencePieceModel& model, const json& config,
                TokenizerDefinition& definition) {
  std::vector<std::string> pieces;
  for (const auto& piece : model.pieces) pieces.push_back(piece.text);
  definition.set_pieces(std::move(pieces));
  set_llama_pipeline(definition, merges_of_vocabulary(definition),
                     llama_prepend(config, definition.where));
  add_special_pieces(model, definition);
  const json roles = with_roles("<s>", "</s>", "<unk>", nullptr, config);
  apply_tokenizer_config(roles, definition, definition.where);
  apply_added_ends(roles, definition, definition.where);
}

}  // namespace

void set_llama_pipeline(TokenizerDefinition& definition, std::vector<PairMerge> merges,
                        SpaceSplit::Prepend prepend) {
  using Kind = DecoderStep::Kind;
  CharacterPairModel model;
  model.merges = std::move(merges);
  model.byte_fallback = model.fuse_unknown = true;
  model.spaces.metaspace = true;
  model.spaces.split = false;
  model.spaces.prepend = prepend;
  definition.model = std::move(model);
  auto& steps = definition.decoder.steps;
  steps = {{Kind::replace, "▁", " "}, {Kind::byte_fallback}, {Kind::fuse}};
  if (prepend != SpaceSplit::Prepend::never) steps.push_back({Kind::strip, "", " ", 1});
}

std::vector<PairMerge> merges_of_vocabulary(const TokenizerDefinition& definition,
                                            std::span<const float> scores) {
  constexpr std::size_t kLongest = 4096;  // bytes: looking at a token costs its length squared
  struct Found {
    PairMerge merge;
    float rank;
    std::int64_t left, right;  // characters; negated where the longest comes first
  };
  const std::int64_t sign = scores.empty() ? 1 : -1;
  std::vector<Found> all;
  for (std::int32_t id = 0; id < definition.model_size; ++id) {
    const auto at = static_cast<std::size_t>(id);
    const std::string_view token = definition.pieces[at];
    if (token.size() > kLongest) {
      throw Error("token " + std::to_string(id) + " has " + std::to_string(token.size()) +
                      " bytes, more than " + std::to_string(kLongest),
                  definition.where);
    }
    if (token.find(' ') != std::string_view::npos) continue;  // no text has one after "▁" is put
    std::vector<Found> local;
    std::vector<std::size_t> starts;
    for (std::size_t i = 0; i < token.size(); i += decode_utf8(token.substr(i)).bytes) {
      starts.push_back(i);
    }
    for (std::size_t i = 1; i < starts.size(); ++i) {
      const auto left = find_id(definition.ids, token.substr(0, starts[i]));
      if (!left || *left >= definition.model_size) continue;
      const auto right = find_id(definition.ids, token.substr(starts[i]));
      if (!right || *right >= definition.model_size) continue;
      const auto before = static_cast<std::int64_t>(i);
      const auto behind = static_cast<std::int64_t>(starts.size()) - before;
      local.push_back(
          {{*left, *right, id}, scores.empty() ? 0.0f : -scores[at], sign * before, sign * behind});
    }
    std::sort(local.begin(), local.end(), [](const Found& a, const Found& b) {
      return std::tie(a.merge.left, a.merge.right) < std::tie(b.merge.left, b.merge.right);
    });
    all.insert(all.end(), local.begin(), local.end());
  }
  std::stable_sort(all.begin(), all.end(), [&](const Found& a, const Found& b) {
    if (scores.empty() && a.merge.merged != b.merge.merged) return a.merge.merged < b.merge.merged;
    return std::tie(a.rank, a.left, a.right) < std::tie(b.rank, b.left, b.right);
  });
  std::vector<PairMerge> merges;
  for (const Found& found : all) merges.push_back(found.merge);
  return merges;
}

TokenizerDefinition sentencepiece_tokenizer(const SentencePieceModel& model, const json& config,
                                            const std::string& where) {
  TokenizerDefinition definition;
  definition.where = where;
  if (model.kind == SentencePieceModel::Kind::unigram) {
    make_t5(model, config, definition);
  } else {
    make_llama(model, config, definition);
  }
  return definition;
}

TokenizerDefinition read_sentencepiece_tokenizer(const std::filesystem::path& path,
                                                 const json& config) {
  const auto file = MappedFile::open(path);
  return sentencepiece_tokenizer(read_sentencepiece(file->bytes(), path.string()), config,
                                 path.string());
}

}  // namespace blip2
