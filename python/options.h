#pragma once

#include <filesystem>
#include <string>

#include "blip2/decoding/options.h"

namespace blip2 {

// What a text is wanted for: its options have the defaults of the program's verb of that name.
enum class TextTask { caption, answer, chat };

// The options of a text: `given`, a JSON object with names of GenerationOptions, over the model's
// generation_config.json over the task's defaults. Sampling draws one sequence unless a number of
// beams is given. Error naming the option that is unknown, of a wrong type or out of range.
GenerationOptions text_options(const std::filesystem::path& folder, TextTask task,
                               const std::string& given);

// The threads that models compute on from now on, in the whole process; 0: as many as there are
// processors.
void use_threads(int threads);

}  // namespace blip2
