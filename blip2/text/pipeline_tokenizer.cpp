#include "blip2/text/pipeline_tokenizer_internal.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <variant>

#include "blip2/base/error.h"
#include "blip2/base/file.h"
#include "blip2/text/added_tokens_internal.h"
#include "blip2/text/byte_pair_internal.h"
#include "blip2/text/character_pair_internal.h"
#include "blip2/text/tokenizer_config_internal.h"
#include "blip2/text/tokenizer_json_internal.h"
#include "blip2/text/turn_tokens_internal.h"
#include "blip2/text/unicode.h"
#include "blip2/text/unigram_internal.h"
#include "blip2/text/word_piece_internal.h"

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

bool is_special(const TokenizerDefinition& definition, std::int32_t id) {
  const auto token = definition.added.find(id);
  return token != definition.added.end() && token->second.special;
}

// Whether the model itself may give a special token for a text that has it written out.
struct GivesSpecial {
  const TokenizerDefinition& definition;

  bool operator()(const WordPieceModel&) const { return false; }  // cuts at every bracket
  bool operator()(const UnigramModel&) const {
    return std::ranges::any_of(definition.added, [&](const auto& item) {
      return item.second.special && item.first < definition.model_size;
    });
  }
  bool operator()(const CharacterPairModel& model) const {
    return model.ignore_merges || merges_to_special(model.merges);
  }
  bool operator()(const BytePairModel& model) const {
    const bool whole = !model.split_words && model.pattern == SplitPattern::none;
    return whole || merges_to_special(model.merges);
  }
  bool merges_to_special(const std::vector<PairMerge>& merges) const {
    return std::ranges::any_of(
        merges, [&](const PairMerge& merge) { return is_special(definition, merge.merged); });
  }
};

// The model without its special tokens, but the unknown one, which it needs.
Encoder make_plain_encoder(TokenizerDefinition d) {
  std::string unknown;
  std::visit(
      [&](auto& model) {
        if constexpr (requires { model.merges; }) {
          unknown = model.unknown.value_or("");
          std::erase_if(model.merges,
                        [&](const PairMerge& merge) { return is_special(d, merge.merged); });
        }
      },
      d.model);
  for (const auto& [id, token] : d.added) {
    if (token.special && token.content != unknown) d.pieces[static_cast<std::size_t>(id)].clear();
  }
  return make_encoder(d);
}

// The text with a space for each end of a word and no space at its ends, as transformers'
// CLIPTokenizer decodes. Python's strip() takes some control characters off too.
std::string words_at(std::string_view text, std::string_view word_end) {
  std::string out;
  for (std::size_t end; (end = text.find(word_end)) != text.npos;) {
    out.append(text.substr(0, end)).append(" ");
    text.remove_prefix(end + word_end.size());
  }
  out.append(text);
  std::size_t first = out.size(), last = 0;
  for (std::size_t at = 0; at < out.size();) {
    const CodePoint c = decode_utf8(std::string_view(out).substr(at));
    const bool stripped = is_whitespace(c.value) || (c.value >= 0x1c && c.value <= 0x1f);
    if (!stripped) first = std::min(first, at), last = at + c.bytes;
    at += c.bytes;
  }
  return first < last ? out.substr(first, last - first) : std::string();
}

// Added tokens cut out of the text, the rest through the model: what tokenizer.json describes.
class PipelineTokenizer : public Tokenizer {
 public:
  explicit PipelineTokenizer(TokenizerDefinition definition);

  std::vector<std::int32_t> encode(std::string_view text, bool add_special_tokens,
                                   PlainText plain) const override;
  std::string decode(std::span<const std::int32_t> ids, bool skip_special_tokens) const override;
  std::string piece(std::int32_t id) const override;
  std::string bytes(std::int32_t id) const override;
  std::optional<std::int32_t> id(std::string_view token) const override;
  std::int32_t size() const override { return static_cast<std::int32_t>(pieces().size()); }
  SpecialTokens special() const override;
  std::vector<std::int32_t> turn_tokens() const override { return blip2::turn_tokens(definition_); }
  ChatTemplateSource chat_template() const override {
    return {definition_.chat_template, definition_.chat_template_where, definition_.roles,
            definition_.chat_template_fault};
  }
  std::int32_t add_token(std::string_view token) override;
  void save(const fs::path& folder) const override;

 private:
  const std::vector<std::string>& pieces() const { return definition_.pieces; }
  void find_added_tokens();
  void encode_text(std::string_view text, bool at_start, bool plain,
                   std::vector<std::int32_t>& ids) const;
  const Encoder& plain_encoder() const;
  std::string join(std::vector<std::string> tokens) const;
  std::string normalize(std::string_view text) const;

  TokenizerDefinition definition_;
  Encoder encoder_;
  bool gives_special_ = false;  // the model may, see GivesSpecial
  mutable std::mutex making_plain_encoder_;
  mutable std::optional<Encoder> plain_encoder_;  // made when first needed
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
  gives_special_ = std::visit(GivesSpecial{definition_}, definition_.model);
  plain_encoder_.reset();
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

const Encoder& PipelineTokenizer::plain_encoder() const {
  if (!gives_special_) return encoder_;
  const std::lock_guard lock(making_plain_encoder_);
  if (!plain_encoder_) plain_encoder_.emplace(make_plain_encoder(definition_));
  return *plain_encoder_;
}

// `text` is normalised, so that its stretches are lost: it is plain as a whole or not at all.
void PipelineTokenizer::encode_text(std::string_view text, bool at_start, bool plain,
                                    std::vector<std::int32_t>& ids) const {
  const Encoder& chosen = plain ? plain_encoder() : encoder_;
  for (const TextPart& part :
       normalized_.split(text, plain ? PlainText(kWholeText) : PlainText())) {
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
        chosen);
  }
}

std::vector<std::int32_t> PipelineTokenizer::encode(std::string_view text, bool add_special_tokens,
                                                    PlainText plain) const {
  std::vector<std::int32_t> ids;
  if (add_special_tokens) ids = definition_.prefix;
  const std::string valid = to_valid_utf8(text);
  for (const TextPart& part : plain_.split(valid, plain)) {
    if (part.id >= 0) {
      ids.push_back(part.id);
    } else {
      const auto begin = static_cast<std::size_t>(part.text.data() - valid.data());
      const bool is_plain = reaches_into(plain, begin, begin + part.text.size());
      encode_text(normalize(part.text), begin == 0, is_plain, ids);
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
  const std::string& word_end = std::get<BytePairModel>(definition_.model).word_end;
  const std::string valid = to_valid_utf8(text);
  return word_end.empty() ? valid : words_at(valid, word_end);
}

std::string PipelineTokenizer::piece(std::int32_t id) const {
  if (id < 0 || id >= size()) {
    throw Error(
        "expected a token id below " + std::to_string(size()) + ", got " + std::to_string(id),
        definition_.where);
  }
  return pieces()[static_cast<std::size_t>(id)];
}

std::string PipelineTokenizer::bytes(std::int32_t id) const {
  if (id < 0 || id >= size()) return "";
  const std::string& piece = pieces()[static_cast<std::size_t>(id)];
  if (const int byte = fallback_byte(piece); byte >= 0) return {static_cast<char>(byte)};
  const bool pairs = std::holds_alternative<BytePairEncoder>(encoder_) && definition_.decoder.joins;
  if (pairs && std::get<BytePairModel>(definition_.model).word_end.empty()) {
    return token_bytes(piece);
  }
  const std::int32_t twice[] = {id, id};  // the second one is not at the text's start
  const std::string once = decode(std::span(twice).first(1), false), both = decode(twice, false);
  return both.starts_with(once) ? both.substr(once.size()) : once;
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
