#include "blip2/model/batched_generation.h"

#include <algorithm>
#include <map>
#include <span>

#include "blip2/base/interrupt.h"

namespace blip2 {
namespace {

struct Picture {
  ImageKeysValues seen;
  std::string failure;  // why there is nothing to see; empty if there is
};
using Pictures = std::map<std::string, Picture>;

// A batch's pictures, each different one encoded once. `known` holds the last batch's, since
// questions about one picture mostly stand together.
Pictures project_batch(const GenerationModel& model, std::span<const PromptedImage> batch,
                       const Pictures& known) {
  Pictures present;
  std::vector<std::string> missing;
  for (const PromptedImage& item : batch) {
    if (!item.failure.empty() || present.contains(item.image)) continue;
    const auto found = known.find(item.image);
    present[item.image] = found == known.end() ? Picture{} : found->second;
    if (found == known.end()) missing.push_back(item.image);
  }
  if (missing.empty()) return present;
  const ReadPictures read = model.images().encode_readable(missing);
  const auto seen = model.project_images(read.features);
  for (std::size_t i = 0; i < seen.size(); ++i) present[missing[read.good[i]]].seen = seen[i];
  for (std::size_t i = 0; i < missing.size(); ++i) present[missing[i]].failure = read.failures[i];
  return present;
}

const std::string& failure_of(const PromptedImage& item, const Pictures& pictures) {
  return item.failure.empty() ? pictures.at(item.image).failure : item.failure;
}

// The texts of a batch's items whose pictures can be read, in order.
std::vector<std::vector<GeneratedText>> answer(const GenerationModel& model,
                                               std::span<const PromptedImage> batch,
                                               const Pictures& pictures,
                                               const GenerationOptions& options) {
  std::vector<ImageKeysValues> rows;
  std::vector<Prompt> prompts;
  for (const PromptedImage& item : batch) {
    if (!failure_of(item, pictures).empty()) continue;
    rows.push_back(pictures.at(item.image).seen);
    prompts.push_back(item.prompt);
  }
  if (rows.empty()) return {};
  return model.generate(rows, prompts, options);
}

}  // namespace

void generate_in_batches(
    const GenerationModel& model, const std::vector<PromptedImage>& questions,
    const GenerationOptions& options, std::int64_t batch_size,
    const std::function<void(std::size_t, const std::vector<GeneratedText>&)>& show,
    const std::function<void(std::size_t, const std::string&)>& fail) {
  const at::InferenceMode inference;
  Pictures pictures;
  for (std::size_t begin = 0; begin < questions.size(); begin += batch_size) {
    if (interrupted()) throw Interrupted{};
    const std::size_t count = std::min<std::size_t>(batch_size, questions.size() - begin);
    const std::span batch(questions.data() + begin, count);
    pictures = project_batch(model, batch, pictures);
    const auto texts = answer(model, batch, pictures, options);
    auto next = texts.begin();
    for (std::size_t i = 0; i < count; ++i) {
      const std::string& failure = failure_of(batch[i], pictures);
      if (failure.empty()) {
        show(begin + i, *next++);
      } else {
        fail(begin + i, failure);
      }
    }
  }
}

}  // namespace blip2
