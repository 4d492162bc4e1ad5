#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string_view>
#include <vector>

#include "blip2/decoding/options.h"
#include "blip2/model/config.h"
#include "blip2/text/tokenizer.h"

namespace blip2 {

// A model directory's generation_config.json says how its texts are generated where nobody asks for
// something else, under the names and with the meanings of transformers' GenerationConfig. It
// counts in this program's own layout. In transformers' layouts it does not, as the `generate` of
// those classes hands nothing of it to the language model (transformers 5.23).
inline constexpr char kGenerationConfig[] = "generation_config.json";

// Sets what the file sets in `options`, but for the keys of GenerationOptions that were `chosen`.
// One warning names what the file asks for that is not followed. Error naming file and key for
// values of a wrong type or out of range.
void apply_generation_config(const std::filesystem::path& folder,
                             const std::function<bool(std::string_view key)>& chosen,
                             GenerationOptions& options);

// The tokens that end a text of the model: those that the file names; otherwise the language
// model's and, as no text goes on after one, the tokenizer's turn_tokens(). In transformers'
// layouts the language model's alone. Error naming file and key.
std::vector<std::int32_t> text_ends(const std::filesystem::path& folder, const Blip2Config& config,
                                    const Tokenizer& tokenizer);

// Writes the file of a model in this program's own layout: that of the directory `init`, if it has
// one, with the ends of texts. `guard`: with no three tokens in a row twice, unless `init` has its
// own guard against loops.
void write_own_generation_config(const std::filesystem::path& init, const Blip2Config& config,
                                 const Tokenizer& tokenizer, bool guard,
                                 const std::filesystem::path& folder);

// Writes the file of a model that came from elsewhere or goes there: that of `source`, if it has
// one, with the tokens of `language` and no others.
void write_converted_generation_config(const std::filesystem::path& source,
                                       const LanguageConfig& language,
                                       const std::filesystem::path& folder);

}  // namespace blip2
