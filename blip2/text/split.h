#pragma once

#include <cstddef>
#include <string_view>

namespace blip2 {

// How numbers are cut off before the words are split.
enum class DigitSplit { none, runs, single };

// The bytes of the first part of a non-empty valid UTF-8 `text` that lies wholly before or is a
// number: a run of other characters, or (runs) a run of numbers, or (single) one number.
std::size_t first_digit_split(std::string_view text, DigitSplit split);

// The split that a tokenizer.json asks for by a regular expression before the bytes are looked at.
enum class SplitPattern { none, llama3, qwen2, clip, clip_special };

// The regular expression, as tokenizer.json has it.
std::string_view split_regex(SplitPattern pattern);

// The bytes of the first match of the pattern in a non-empty valid UTF-8 `text`: as GPT-2's below,
// but contractions in any case, any one character but a line's end before letters, numbers alone
// or (llama3) by up to three, and line ends with what stands before them. Sources: Llama 3's and
// Qwen2's tokenizer.json.
//
// CLIP's: GPT-2's contractions, letters, one number, or a run of all other characters but white
// space, which is between the matches and a part of its own here; clip_special: or one of CLIP's
// special tokens, written out. Source: openai/CLIP, clip/simple_tokenizer.py.
std::size_t first_split(std::string_view text, SplitPattern pattern);

// Whether parts of white space are left out: only what the pattern matches counts.
bool drops_spaces(SplitPattern pattern);

// The bytes of the first match of GPT-2's pattern in a non-empty valid UTF-8 `text`:
//   's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
// Successive matches cover any text. Source: openai/gpt-2, src/encoder.py.
std::size_t first_word(std::string_view text);

}  // namespace blip2
