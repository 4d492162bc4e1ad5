#include "apps/blip2/generate.h"

#include <algorithm>
#include <map>

#include "blip2/base/interrupt.h"

namespace blip2 {
namespace {

using Pictures = std::map<std::string, ImageKeysValues>;

// A batch's pictures, each different one looked at once. `known` keeps the last batch's, since
// questions about one picture mostly stand together.
std::vector<ImageKeysValues> look_at(const GenerationModel& model,
                                     std::span<const PromptedImage> batch, Pictures& known) {
  Pictures present;
  std::vector<std::string> missing;
  for (const PromptedImage& item : batch) {
    if (present.contains(item.image)) continue;
    const auto found = known.find(item.image);
    present[item.image] = found == known.end() ? ImageKeysValues{} : found->second;
    if (found == known.end()) missing.push_back(item.image);
  }
  const auto pictures = model.look(missing);
  for (std::size_t i = 0; i < missing.size(); ++i) present[missing[i]] = pictures[i];
  std::vector<ImageKeysValues> rows;
  for (const PromptedImage& item : batch) rows.push_back(present[item.image]);
  known = std::move(present);
  return rows;
}

}  // namespace

GenerationModel open_generation_model(const RunOptions& options) {
  apply_threads(options.threads);
  return GenerationModel(options.model, options.precision, bridge_type(options), options.pictures);
}

void generate_in_batches(
    const GenerationModel& model, const std::vector<PromptedImage>& questions,
    const GenerationOptions& options, std::int64_t batch_size,
    const std::function<void(std::size_t, const std::vector<GeneratedText>&)>& show) {
  const at::InferenceMode inference;
  Pictures known;
  for (std::size_t begin = 0; begin < questions.size(); begin += batch_size) {
    if (interrupted()) throw Interrupted{};
    const std::size_t count = std::min<std::size_t>(batch_size, questions.size() - begin);
    const std::span batch(questions.data() + begin, count);
    const auto pictures = look_at(model, batch, known);
    std::vector<Prompt> prompts;
    for (const PromptedImage& item : batch) prompts.push_back(item.prompt);
    const auto texts = model.generate(pictures, prompts, options);
    for (std::size_t i = 0; i < count; ++i) show(begin + i, texts[i]);
  }
}

}  // namespace blip2
