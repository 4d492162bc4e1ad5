// The input as a tokenizer.json and, behind a zero byte, a text, or (if it begins with a piece's
// tag) as a SentencePiece model: the file is refused with Error, or its tokenizer encodes and
// decodes the text, and reads what it writes.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string_view>

#include "blip2/base/error.h"
#include "blip2/io/json.h"
#include "blip2/text/pipeline_tokenizer_internal.h"
#include "blip2/text/sentencepiece_internal.h"
#include "blip2/text/tokenizer_json_internal.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::size_t end = std::min(input.find('\0'), size);
  const std::string_view text = input.substr(std::min(end + 1, size));
  try {
    const auto read = [](std::string_view json) {
      return blip2::read_tokenizer_json(blip2::parse_json(json, "fuzz"), "fuzz");
    };
    const bool is_model = input.starts_with('\n');
    const blip2::TokenizerDefinition definition =
        is_model ? blip2::sentencepiece_tokenizer(
                       blip2::read_sentencepiece(std::as_bytes(std::span(data, size)), "fuzz"),
                       nlohmann::json::object(), "fuzz")
                 : read(input.substr(0, end));
    const auto tokenizer = blip2::make_tokenizer(definition);
    const auto ids = tokenizer->encode(text);
    tokenizer->decode(ids, true);
    const auto again = blip2::make_tokenizer(read(blip2::write_tokenizer_json(definition)));
    if (again->encode(text) != ids || again->decode(ids) != tokenizer->decode(ids)) std::abort();
  } catch (const blip2::Error&) {
  }
  return 0;
}
