#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "blip2/text/merge_table_internal.h"
#include "blip2/text/tokenizer_definition.h"
#include "blip2/text/vocabulary.h"

namespace blip2 {

// The bytes that a byte-level token stands for ("Ġa" -> " a"), or the token itself if it holds a
// character outside GPT-2's byte alphabet; `in_alphabet` becomes false in the second case.
std::string token_bytes(std::string_view token, bool* in_alphabet = nullptr);

// Byte-level BPE (Sennrich et al. 2016; Radford et al. 2019).
class BytePairEncoder {
 public:
  // `pieces` by id. Throws Error if the unknown token is not among them.
  BytePairEncoder(const BytePairModel& model, std::span<const std::string> pieces);

  // Appends the ids of valid UTF-8 text that holds no added token.
  void encode(std::string_view text, std::vector<std::int32_t>& ids) const;

 private:
  // Whether merging the bytes of a token gives the token back: found out once, then remembered.
  enum class Whole : std::uint8_t { unasked, yes, no };

  void encode_digits(std::string_view text, std::vector<std::int32_t>& ids) const;
  void encode_part(std::string_view text, std::vector<std::int32_t>& ids) const;
  void encode_word(std::string_view word, std::vector<std::int32_t>& ids) const;
  void merge_word(std::string_view word, std::vector<std::int32_t>& ids) const;

  SplitPattern pattern_;
  DigitSplit digits_;
  bool add_prefix_space_, split_words_, ignore_merges_, fuse_unknown_;
  std::int32_t unknown_ = -1;
  std::array<std::int32_t, 256> byte_ids_, last_ids_;  // last_ids_: of a word's last byte
  MergeTable merges_;
  TokenIds words_;  // a token's bytes -> its id
  std::unique_ptr<std::atomic<Whole>[]> whole_;
};

}  // namespace blip2
