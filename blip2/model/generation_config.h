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

// A model directory's generation_config.json has the default settings for generating texts, under
// the names and with the meanings of transformers' GenerationConfig. It counts in this program's
// own layout. In transformers' layouts it does not count, because `generate` of transformers'
// classes passes nothing from it to the language model (transformers 5.23). Several threads may
// call the functions of this header at once, unless they write the same folder.
inline constexpr char kGenerationConfig[] = "generation_config.json";

// Copies the settings of the file into `options`, except keys of GenerationOptions for which
// `chosen` is true. One warning names the settings in the file that this program does not follow.
// Error naming file and key for values of a wrong type or out of range.
void apply_generation_config(const std::filesystem::path& folder,
                             const std::function<bool(std::string_view key)>& chosen,
                             GenerationOptions& options);

// The tokens that end a text of the model: the file's eos_token_id if it has one; otherwise the
// language model's end tokens and the tokenizer's turn_tokens(), as a text ends before a new turn.
// In transformers' layouts they are the language model's end tokens alone. Error naming file and
// key.
std::vector<std::int32_t> text_ends(const std::filesystem::path& folder, const Blip2Config& config,
                                    const Tokenizer& tokenizer);

// Writes the file of a model in this program's own layout into `folder`: the file of the directory
// `init`, if it has one, with the tokens that end texts. `guard`: adds no_repeat_ngram_size = 3,
// unless the file of `init` has a guard against loops already.
void write_own_generation_config(const std::filesystem::path& init, const Blip2Config& config,
                                 const Tokenizer& tokenizer, bool guard,
                                 const std::filesystem::path& folder);

// Writes the file of a converted model into `folder`: the file of `source`, if it has one, in which
// all token ids are those of `language`.
void write_converted_generation_config(const std::filesystem::path& source,
                                       const LanguageConfig& language,
                                       const std::filesystem::path& folder);

}  // namespace blip2
