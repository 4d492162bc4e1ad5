#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "blip2/model/generation_model.h"

namespace blip2 {

struct PromptedImage {
  std::string image;  // the path of its file
  Prompt prompt;
  std::string failure = {};  // why it cannot be answered, if that is known before
};

// Answers all in order, `batch_size` at a time; a picture that follows itself is encoded once. For
// each place in order either `show` gets the texts or `fail` what is wrong with the picture, which
// changes nothing for the others of its batch. Throws Interrupted between batches if the program is
// to stop. Runs on the caller's thread and those of LibTorch.
void generate_in_batches(
    const GenerationModel& model, const std::vector<PromptedImage>& questions,
    const GenerationOptions& options, std::int64_t batch_size,
    const std::function<void(std::size_t, const std::vector<GeneratedText>&)>& show,
    const std::function<void(std::size_t, const std::string&)>& fail);

}  // namespace blip2
