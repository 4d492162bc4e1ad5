#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "blip2/data/batch.h"
#include "blip2/objectives/words.h"
#include "blip2/processes/ranks.h"
#include "blip2/tasks/task.h"

namespace blip2 {

// A language model's embeddings of token ids: int64 [N] -> [N, width] f32.
using EmbedTokens = std::function<at::Tensor(const at::Tensor&)>;

// The words objective (objectives/words.h) whose classes are the target tokens of some training
// data.
class WordsObjective {
 public:
  WordsObjective(const PromptData& data, const EmbedTokens& embed, const ObjectivesRecipe& recipe);

  // The weighted loss of a batch given its soft prompts [B, Q, width], with meters.
  TaskLoss loss(const at::Tensor& soft, const PromptBatch& batch,
                const Ranks* ranks = nullptr) const;

 private:
  double weight_, label_smoothing_;
  std::int64_t lead_;
  WordTargets targets_;
};

// The words objective in stage 1: the soft prompts of the queries alone have to point to the words
// of the picture's caption, so that stage 2 starts with soft prompts that name things.
class CaptionWords {
 public:
  // `tokenizer`: the language model's, which tokenises the captions of `records`.
  CaptionWords(std::span<const Record> records, const Tokenizer& tokenizer,
               const PromptFormat& format, const EmbedTokens& embed,
               const ObjectivesRecipe& recipe);

  // The weighted loss of a batch given its soft prompts [B, Q, width], with meters. The captions
  // are those that CaptionData::batch chooses for the same items, seed and step.
  TaskLoss loss(const at::Tensor& soft, std::span<const std::int64_t> items, std::uint64_t seed,
                std::int64_t step, const Ranks* ranks = nullptr) const;

 private:
  PromptData captions_;
  WordsObjective objective_;
};

}  // namespace blip2
