#include "blip2/tasks/caption_contrast_internal.h"

#include <utility>

#include "blip2/base/error.h"
#include "blip2/base/random.h"
#include "blip2/objectives/stage1.h"

namespace blip2 {
namespace {

// The stream of the choice among captions.
constexpr std::uint64_t kCaptionSeed = 31;

}  // namespace

CaptionContrast::CaptionContrast(const Recipe& recipe, std::shared_ptr<const Bridge> bridge,
                                 std::span<const Record> records, const Tokenizer& qformer)
    : recipe_(recipe), bridge_(std::move(bridge)) {
  std::vector<Record> captioned;
  for (const Record& record : records) {
    caption_of_.push_back(record.is_question() ? -1 : std::ssize(captioned));
    if (!record.is_question()) captioned.push_back(record);
  }
  if (captioned.empty()) {
    throw Error("contrast needs captions, got questions alone", recipe.place("objectives.contrast"),
                "add data with captions or set it to 0");
  }
  captions_.emplace(captioned, qformer, recipe.data.max_text_tokens);
}

TaskLoss CaptionContrast::loss(std::span<const std::int64_t> items, const ImageFeatures& features,
                               const ComputeOptions& compute, std::int64_t step,
                               const Ranks* ranks) const {
  std::vector<std::int64_t> rows, chosen;
  for (std::size_t i = 0; i < items.size(); ++i) {
    const std::int64_t caption = caption_of_[static_cast<std::size_t>(items[i])];
    if (caption < 0) continue;
    rows.push_back(static_cast<std::int64_t>(i));
    chosen.push_back(caption);
  }
  const double share = share_of(ranks, std::ssize(rows));
  if (rows.empty()) return {at::zeros({}), {}};
  const auto seed = derive_seed(static_cast<std::uint64_t>(recipe_.seed), kCaptionSeed);
  const CaptionBatch batch = captions_->batch(chosen, seed, step);
  Stage1Batch input;
  input.image_embeds = features.select(rows);
  input.text = batch.texts;
  input.image_ids = batch.image_ids;
  input.caption_ids = batch.caption_ids;
  Stage1Options options{compute, {.contrast = true}};
  options.label_smoothing = recipe_.objectives.label_smoothing;
  options.clamp_temperature = recipe_.objectives.clamp_temperature;
  const Stage1Step step_of_captions(bridge_->stage1_parts(), std::move(input), options);
  const ContrastLoss& contrast = step_of_captions.contrast();
  return {recipe_.objectives.contrast * share * contrast.loss,
          {{"contrast", contrast.loss.item<double>(), share},
           {"contrast_accuracy", contrast.accuracy, share}}};
}

}  // namespace blip2
