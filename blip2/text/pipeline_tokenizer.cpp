#include "blip2/text/pipeline_tokenizer.h"

#include <map>
#include <set>
#include <variant>

#include "blip2/base/error.h"
#include "blip2/base/file.h"
#include "blip2/text/added_tokens.h"
#include "blip2/text/byte_pair.h"
#include "blip2/text/character_pair.h"
#include "blip2/text/tokenizer_config.h"
#include "blip2/text/tokenizer_json.h"
#include "blip2/text/unicode.h"
#include "blip2/text/unigram.h"
#include "blip2/text/word_piece.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;

using Encoder =
    std::variant<WordPieceEncoder, BytePairEncoder, CharacterPairEncoder, UnigramEncoder>;

template <typename Chosen, typename Model>
Encoder encoder_of(const Model& model, std::span<const std::string> pieces) {
  return Encoder(std::in_place_type<Chosen>, model, pieces);
}

Encoder make_encoder(const TokenizerDefinition& d) {
  const auto pieces = std::span(d.pieces).first(static_cast<std::size_t>(d.model_size));
  if (const auto* model = std::get_if<BytePairModel>(&d.model)) {
    return encoder_of<BytePairEncoder>(*model, pieces);
  }
  if (const auto* model = std::get_if<CharacterPairModel>(&d.model)) {
    return encoder_of<CharacterPairEncoder>(*model, pieces);
  }
  if (const auto* model = std::get_if<UnigramModel>(&d.model)) {
    return encoder_of<UnigramEncoder>(*model, pieces);
  }
  return encoder_of<WordPieceEncoder>(std::get<WordPieceModel>(d.model), pieces);
}

// Added tokens cut out of the text, the rest through the model: what tokenizer.json describes.
class PipelineTokenizer : public Tokenizer {
 public:
  explicit PipelineTokenizer(TokenizerDefinition definition);

  std::vector<std::int32_t> encode(std::string_view text, bool add_special_tokens) const override;
  std::string decode(std::span<const std::int32_t> ids, bool skip_special_tokens) const override;
  std::string piece(std::int32_t id) const override;
  std::optional<std::int32_t> id(std::string_view token) const override;
  std::int32_t size() const override { return static_cast<std::int32_t>(pieces().size()); }
  SpecialTokens special() const override;
  std::int32_t add_token(std::string_view token) override;
  void save(const fs::path& folder) const override;

 private:
  const std::vector<std::string>& pieces() const { return definition_.pieces; }
  void find_added_tokens();
  void encode_text(std::string_view text, bool at_start, std::vector<std::int32_t>& ids) const;
  std::string join(std::vector<std::string> tokens) const;
  std::string normalize(std::string_view text) const;

  TokenizerDefinition definition_;
  Encoder encoder_;
  AddedTokenFinder plain_, normalized_;
  // Tokens that decode to other text than their piece: added ones found after normalising.
  std::map<std::int32_t, std::string> decoded_;
  std::set<std::string, std::less<>> special_;  // contents
};

PipelineTokenizer::PipelineTokenizer(TokenizerDefinition definition)
    : definition_(std::move(definition)), encoder_(make_encoder(definition_)) {
  find_added_tokens();
}

void PipelineTokenizer::find_added_tokens() {
  plain_ = normalized_ = {};
  for (const auto& [id, token] : definition_.added) {
    if (token.special) special_.insert(token.content);
    if (!token.normalized) {
      plain_.add(token.content, token);
      continue;
    }
    std::string pattern = normalize(token.content);
    normalized_.add(pattern, token);
    if (pattern != token.content) decoded_[id] = std::move(pattern);
  }
}

std::string PipelineTokenizer::normalize(std::string_view text) const {
  const auto* encoder = std::get_if<WordPieceEncoder>(&encoder_);
  return encoder ? encoder->normalize(text) : blip2::normalize(definition_.normalizer, text);
}

void PipelineTokenizer::encode_text(std::string_view text, bool at_start,
                                    std::vector<std::int32_t>& ids) const {
  for (const TextPart& part : normalized_.split(text)) {
    if (part.id >= 0) {
      ids.push_back(part.id);
      continue;
    }
    const bool first = at_start && part.text.data() == text.data();
    std::visit(
        [&](const auto& encoder) {
          if constexpr (requires { encoder.encode(part.text, first, ids); }) {
            encoder.encode(part.text, first, ids);
          } else {
            encoder.encode(part.text, ids);
          }
        },
        encoder_);
  }
}

std::vector<std::int32_t> PipelineTokenizer::encode(std::string_view text,
                                                    bool add_special_tokens) const {
  std::vector<std::int32_t> ids;
  if (add_special_tokens) ids = definition_.prefix;
  const std::string valid = to_valid_utf8(text);
  for (const TextPart& part : plain_.split(valid)) {
    if (part.id >= 0) {
      ids.push_back(part.id);
    } else {
      encode_text(normalize(part.text), part.text.data() == valid.data(), ids);
    }
  }
  if (add_special_tokens) {
    ids.insert(ids.end(), definition_.suffix.begin(), definition_.suffix.end());
  }
  return ids;
}

std::string PipelineTokenizer::decode(std::span<const std::int32_t> ids,
                                      bool skip_special_tokens) const {
  std::vector<std::string> tokens;
  for (const std::int32_t id : ids) {
    if (id < 0 || id >= size() || pieces()[static_cast<std::size_t>(id)].empty()) continue;
    const auto other = decoded_.find(id);
    const std::string& token =
        other == decoded_.end() ? pieces()[static_cast<std::size_t>(id)] : other->second;
    if (!skip_special_tokens || !special_.contains(token)) tokens.push_back(token);
  }
  std::string text = join(std::move(tokens));
  const bool word_piece = std::holds_alternative<WordPieceEncoder>(encoder_);
  return word_piece && definition_.clean_up_spaces ? clean_up_tokenization(text) : text;
}

std::string PipelineTokenizer::join(std::vector<std::string> tokens) const {
  if (!definition_.decoder.joins) {
    std::string text;
    for (const std::string& token : tokens) text += (text.empty() ? "" : " ") + token;
    return text;
  }
  if (std::holds_alternative<WordPieceEncoder>(encoder_)) {
    return join_word_pieces(tokens, definition_.decoder);
  }
  if (!std::holds_alternative<BytePairEncoder>(encoder_)) {
    return decode_steps(definition_.decoder.steps, std::move(tokens));
  }
  std::string text;
  for (const std::string& token : tokens) text += token_bytes(token);
  return to_valid_utf8(text);
}

std::string PipelineTokenizer::piece(std::int32_t id) const {
  if (id < 0 || id >= size()) {
    throw Error(
        "expected a token id below " + std::to_string(size()) + ", got " + std::to_string(id),
        definition_.where);
  }
  return pieces()[static_cast<std::size_t>(id)];
}

std::optional<std::int32_t> PipelineTokenizer::id(std::string_view token) const {
  return find_id(definition_.ids, token);
}

SpecialTokens PipelineTokenizer::special() const {
  const auto role = [&](const char* name) -> std::optional<std::int32_t> {
    const auto token = definition_.roles.find(name);
    return token == definition_.roles.end() ? std::nullopt : id(token->second);
  };
  return {role("bos_token"), role("eos_token"), role("pad_token"),  role("unk_token"),
          role("cls_token"), role("sep_token"), role("mask_token"), id("[DEC]")};
}

std::int32_t PipelineTokenizer::add_token(std::string_view token) {
  AddedToken added;
  added.content = to_valid_utf8(token);
  const std::int32_t id = definition_.add(added);
  // LAVIS adds [DEC] as the tokenizer's bos.
  if (added.content == "[DEC]") definition_.roles.emplace("bos_token", added.content);
  find_added_tokens();
  return id;
}

void PipelineTokenizer::save(const fs::path& folder) const {
  std::error_code failed;
  fs::create_directories(folder, failed);
  if (failed) throw Error("cannot make the folder: " + failed.message(), folder.string());
  write_file(folder / "tokenizer.json", write_tokenizer_json(definition_));
  write_file(folder / "tokenizer_config.json", write_tokenizer_config(definition_));
}

}  // namespace

std::unique_ptr<Tokenizer> make_tokenizer(TokenizerDefinition definition) {
  const std::string where = definition.where;
  try {
    return std::make_unique<PipelineTokenizer>(std::move(definition));
  } catch (const Error& error) {
    throw error.within(where);
  }
}

}  // namespace blip2
