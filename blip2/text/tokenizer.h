#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace blip2 {

// Ids of the tokens that a tokenizer's files give a role, where they do.
struct SpecialTokens {
  std::optional<std::int32_t> bos, eos, pad, unk, cls, sep, mask, dec;
};

// Bytes [begin, end) of a valid UTF-8 text.
struct TextStretch {
  std::size_t begin = 0, end = 0;
};

// Stretches of a text that somebody typed or that come from data: special tokens written out there
// ("<|im_end|>", "[SEP]") are plain text, as transformers' split_special_tokens has it.
using PlainText = std::span<const TextStretch>;
inline constexpr TextStretch kWholeText[] = {{0, static_cast<std::size_t>(-1)}};

// Text to token ids and back, with the ids that transformers' fast tokenizer of the same files
// gives. Text is UTF-8; what is not becomes U+FFFD as in Python's errors="replace". Const methods
// may be called from several threads.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  // Special tokens written out in the text are recognised but where it is `plain`: no id of one
  // comes from there. No truncation, no padding. add_special_tokens: what the model's template puts
  // around a text ([CLS] … [SEP], OPT's </s>).
  virtual std::vector<std::int32_t> encode(std::string_view text, bool add_special_tokens = true,
                                           PlainText plain = {}) const = 0;
  // UTF-8 text; bytes that do not form UTF-8 become U+FFFD. Ids outside the vocabulary are skipped.
  virtual std::string decode(std::span<const std::int32_t> ids,
                             bool skip_special_tokens = true) const = 0;
  // The token as its file writes it ("##ing", "Ġthe"); Error if there is no such id.
  virtual std::string piece(std::int32_t id) const = 0;
  virtual std::optional<std::int32_t> id(std::string_view token) const = 0;
  // One more than the highest id.
  virtual std::int32_t size() const = 0;
  virtual SpecialTokens special() const = 0;
  // The special tokens between which a chat model's turns stand, in rising order: no text of one
  // turn goes on after one of them. Empty if the model does not chat.
  virtual std::vector<std::int32_t> turn_tokens() const = 0;
  // The id of `token`, appended as a special token if the vocabulary lacks it. "[DEC]" also
  // becomes special().dec.
  virtual std::int32_t add_token(std::string_view token) = 0;
  // Writes tokenizer.json and tokenizer_config.json (with the chat template, if the files had one)
  // so that transformers' AutoTokenizer and load_tokenizer give the same ids.
  virtual void save(const std::filesystem::path& folder) const = 0;
};

// From a folder (tokenizer.json, else vocab.txt, else vocab.json and merges.txt, else spiece.model
// or tokenizer.model), from one of those files, or from a GGUF file. Throws Error naming the file
// and the place in it.
std::unique_ptr<Tokenizer> load_tokenizer(const std::filesystem::path& path);

}  // namespace blip2
