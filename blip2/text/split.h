#pragma once

#include <cstddef>
#include <string_view>

namespace blip2 {

// How numbers are cut off before the words are split.
enum class DigitSplit { none, runs, single };

// The number of bytes of the first part of a non-empty valid UTF-8 `text`: a run of characters
// before a number, or a number itself, which is a run of digits (runs) or one digit (single).
std::size_t first_digit_split(std::string_view text, DigitSplit split);

// The split by a regular expression that a tokenizer.json asks for before byte-level BPE.
enum class SplitPattern { none, llama3, qwen2, o200k, tekken, clip, clip_special };

// The regular expression, as tokenizer.json has it.
std::string_view split_regex(SplitPattern pattern);

// The number of bytes of the first match of the pattern in a non-empty valid UTF-8 `text`. Llama
// 3's and Qwen2's patterns are like GPT-2's below, with these differences: contractions match in
// any case, any one character but a line end may stand before letters, digits match singly or
// (llama3) up to three together, and line ends match with the characters before them. Sources:
// Llama 3's and Qwen2's tokenizer.json.
//
// o200k (Phi-4-mini) and tekken (Ministral 3) cut a word before a capital that follows other
// letters: a run of capitals (and letters without case, and marks), then a run of small ones (and
// those), of which one may be empty. o200k keeps a contraction with the word before it and numbers
// up to three together. Sources: openai/tiktoken, openai_public.py; Ministral 3's tokenizer.json.
//
// CLIP's pattern matches GPT-2's contractions, a run of letters, one number, or a run of all other
// characters but white space; clip_special also matches CLIP's special tokens where they are
// written out. White space between matches is a part of its own here. Source: openai/CLIP,
// clip/simple_tokenizer.py.
std::size_t first_split(std::string_view text, SplitPattern pattern);

// Whether the pattern leaves out the parts of white space, so that only its matches count.
bool drops_spaces(SplitPattern pattern);

// The number of bytes of the first match of GPT-2's pattern in a non-empty valid UTF-8 `text`:
//   's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
// Successive matches cover any text. Source: openai/gpt-2, src/encoder.py.
std::size_t first_word(std::string_view text);

}  // namespace blip2
