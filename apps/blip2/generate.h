#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "apps/blip2/options.h"
#include "blip2/model/generation_model.h"

namespace blip2 {

struct PromptedImage {
  std::string image;
  Prompt prompt;
};

GenerationModel open_generation_model(const RunOptions& options);

// Answers all in order, `batch_size` at a time; a picture that follows itself is encoded once.
// `show` gets the place of a question and its texts, in order.
void generate_in_batches(
    const GenerationModel& model, const std::vector<PromptedImage>& questions,
    const GenerationOptions& options, std::int64_t batch_size,
    const std::function<void(std::size_t, const std::vector<GeneratedText>&)>& show);

}  // namespace blip2
