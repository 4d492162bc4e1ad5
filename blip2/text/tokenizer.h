#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace blip2 {

// Ids of the tokens to which a tokenizer's files give a role; nullopt for a role without a token.
struct SpecialTokens {
  std::optional<std::int32_t> bos, eos, pad, unk, cls, sep, mask, dec;
};

// Bytes [begin, end) of a valid UTF-8 text.
struct TextStretch {
  std::size_t begin = 0, end = 0;
};

// Stretches of a text that somebody typed or that come from data. Special tokens written out there
// ("<|im_end|>", "[SEP]") are plain text, as with transformers' split_special_tokens.
using PlainText = std::span<const TextStretch>;
inline constexpr TextStretch kWholeText[] = {{0, static_cast<std::size_t>(-1)}};

// A language model's chat template as its files have it (blip2/chat/chat_template.h runs it).
struct ChatTemplateSource {
  std::string text;                           // Jinja; empty if there is none
  std::string where;                          // the file and, in it, the key
  std::map<std::string, std::string> tokens;  // by role: "bos_token" -> "<s>"
  std::string fault = {};                     // why there is none, if the files have the key
};

// Turns text into token ids and back, with the ids that transformers' fast tokenizer of the same
// files gives. Text is UTF-8; other bytes become U+FFFD as with Python's errors="replace". Const
// functions may run on several threads at once, but not while add_token() runs.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  // The ids of a text, without truncation or padding. Special tokens written out in the text are
  // recognised, except in its `plain` stretches. add_special_tokens: adds the tokens that the
  // tokenizer puts around a text ([CLS] … [SEP], OPT's </s>).
  virtual std::vector<std::int32_t> encode(std::string_view text, bool add_special_tokens = true,
                                           PlainText plain = {}) const = 0;
  // The text of the ids, in UTF-8; bytes that do not form UTF-8 become U+FFFD. Ids outside the
  // vocabulary are skipped.
  virtual std::string decode(std::span<const std::int32_t> ids,
                             bool skip_special_tokens = true) const = 0;
  // The token as its file writes it ("##ing", "Ġthe"); Error if there is no such id.
  virtual std::string piece(std::int32_t id) const = 0;
  virtual std::optional<std::int32_t> id(std::string_view token) const = 0;
  // One more than the highest id.
  virtual std::int32_t size() const = 0;
  virtual SpecialTokens special() const = 0;
  // The special tokens that open or close the turns of a chat model, in rising order: the text of a
  // turn ends before each of them. Empty if the model is not a chat model.
  virtual std::vector<std::int32_t> turn_tokens() const = 0;
  virtual ChatTemplateSource chat_template() const { return {}; }
  // The id of `token`, which is appended as a special token if the vocabulary lacks it. "[DEC]"
  // also becomes special().dec.
  virtual std::int32_t add_token(std::string_view token) = 0;
  // Writes tokenizer.json and tokenizer_config.json (with the chat template, if the files had one)
  // so that transformers' AutoTokenizer and load_tokenizer give the same ids.
  virtual void save(const std::filesystem::path& folder) const = 0;
  // The bytes that the token adds to a text within which it stands; they may begin or end within a
  // character. "" for an id that is none.
  virtual std::string bytes(std::int32_t id) const = 0;
};

// Loads a tokenizer from a folder (tokenizer.json, else vocab.txt, else vocab.json and merges.txt,
// else spiece.model or tokenizer.model), from one of these files, or from a GGUF file. Throws Error
// naming the file and the place in it.
std::unique_ptr<Tokenizer> load_tokenizer(const std::filesystem::path& path);

}  // namespace blip2
