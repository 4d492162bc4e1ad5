#include "apps/blip2/generate.h"

#include <algorithm>
#include <map>

#include "blip2/base/interrupt.h"

namespace blip2 {
namespace {

// Features of a batch's pictures [B, P, D], each different picture encoded once. `known` keeps the
// last batch's, since questions about one picture mostly stand together.
at::Tensor encode_batch(const GenerationModel& model, std::span<const PromptedImage> batch,
                        std::map<std::string, at::Tensor>& known) {
  std::map<std::string, at::Tensor> present;
  std::vector<std::string> missing;
  for (const PromptedImage& item : batch) {
    const auto found = known.find(item.image);
    const bool first = present.emplace(item.image, at::Tensor()).second;
    if (!first) continue;
    if (found != known.end()) {
      present[item.image] = found->second;
    } else {
      missing.push_back(item.image);
    }
  }
  if (!missing.empty()) {
    const at::Tensor features = model.images().encode(missing);
    for (std::size_t i = 0; i < missing.size(); ++i) {
      present[missing[i]] = features[static_cast<std::int64_t>(i)];
    }
  }
  std::vector<at::Tensor> rows;
  for (const PromptedImage& item : batch) rows.push_back(present[item.image]);
  known = std::move(present);
  return at::stack(rows);
}

}  // namespace

GenerationModel open_generation_model(const RunOptions& options) {
  apply_threads(options.threads);
  return GenerationModel(options.model, options.precision);
}

void generate_in_batches(
    const GenerationModel& model, const std::vector<PromptedImage>& questions,
    const GenerationOptions& options, std::int64_t batch_size,
    const std::function<void(std::size_t, const std::vector<GeneratedText>&)>& show) {
  const at::InferenceMode inference;
  std::map<std::string, at::Tensor> known;
  for (std::size_t begin = 0; begin < questions.size(); begin += batch_size) {
    if (interrupted()) throw Interrupted{};
    const std::size_t count = std::min<std::size_t>(batch_size, questions.size() - begin);
    const std::span batch(questions.data() + begin, count);
    const at::Tensor features = encode_batch(model, batch, known);
    std::vector<std::string> prompts;
    for (const PromptedImage& item : batch) prompts.push_back(item.prompt);
    const auto texts = model.generate(features, prompts, options);
    for (std::size_t i = 0; i < count; ++i) show(begin + i, texts[i]);
  }
}

}  // namespace blip2
