#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "blip2/model/generation_model.h"

namespace blip2 {

// A picture and the prompt that is asked about it.
struct PromptedImage {
  std::string image;  // the path of its file
  Prompt prompt;
  std::string failure = {};  // why no answer is possible, if that is known beforehand
};

// Answers all questions in order, `batch_size` at a time; neighbours about one picture share its
// features. For each question in order it calls either `show` with the texts or `fail` with the
// reason why there is none; a failure changes nothing for other questions of the batch. Throws
// Interrupted between batches once interrupted() is true. It runs on the caller's thread and
// LibTorch's threads, and calls `show` and `fail` on the caller's.
void generate_in_batches(
    const GenerationModel& model, const std::vector<PromptedImage>& questions,
    const GenerationOptions& options, std::int64_t batch_size,
    const std::function<void(std::size_t, const std::vector<GeneratedText>&)>& show,
    const std::function<void(std::size_t, const std::string&)>& fail);

}  // namespace blip2
