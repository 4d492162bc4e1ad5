#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "blip2/text/tokenizer.h"

namespace blip2 {

// How generated tokens become the text that is shown. Several threads may call these functions.

// Where the first of the stop strings begins in a text; npos if it has none of them.
std::size_t first_stop(std::string_view text, std::span<const std::string> stops);

// The text without ASCII white space at its ends, as Python's strip() gives it.
std::string_view stripped(std::string_view text);
bool is_stripped(char c);

// The text of tokens: without special tokens, cut before the first stop string, and stripped.
std::string written_text(const Tokenizer& tokenizer, std::span<const std::int32_t> tokens,
                         std::span<const std::string> stops = {});

}  // namespace blip2
