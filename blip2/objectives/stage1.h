#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "blip2/objectives/itc.h"
#include "blip2/objectives/itg.h"
#include "blip2/objectives/itm.h"
#include "blip2/processes/ranks.h"
#include "blip2/qformer/stage1_heads.h"

namespace blip2 {

// B pictures with one text each; with ranks, this process's share of a batch of R times as many.
struct Stage1Batch {
  at::Tensor image_embeds;  // [B,P,De] f32 or bf16: features, before `norm` below
  TextRows text;            // B texts, each [CLS] ... [SEP]
  at::Tensor image_ids;     // [B] int64: equal for the same picture
  at::Tensor caption_ids;   // [B] int64: equal for the same caption
  // Given ones instead of drawn ones, for the batch of all processes.
  std::optional<Negatives> negatives = std::nullopt;
};

// Passes that several objectives read. A step computes each once if one of its objectives needs it.
struct SharedPasses {
  bool contrast = false;    // queries alone and texts alone, all compared with each other
  bool pairs = false;       // pictures with the texts that belong to them and with drawn ones
  bool generation = false;  // each text word by word, after its picture's queries alone

  SharedPasses& operator|=(const SharedPasses& other) {
    contrast |= other.contrast;
    pairs |= other.pairs;
    generation |= other.generation;
    return *this;
  }
};

struct Stage1Options {
  ComputeOptions compute;
  SharedPasses passes = {};
  std::int64_t decoder_token = -1;  // [DEC], which generation starts from
  double label_smoothing = 0.1;     // of contrast and generation
  bool clamp_temperature = true;
  // Contrast and negatives reach over the batches of all processes.
  const Ranks* ranks = nullptr;
};

// An objective's loss on this process.
struct ObjectiveLoss {
  at::Tensor loss;      // []
  double accuracy = 0;  // share of the predictions that are right
  // How much the loss counts: over all processes these sum to 1, and the losses times these to the
  // loss of the batches put together. 1 without ranks.
  double share = 1;
  std::vector<std::pair<std::string, at::Tensor>> drawn = {};  // random choices, for tests
};

// One step over a batch: the keys and values of its pictures and the passes that objectives share
// (arXiv 2301.12597, section 3.2), from which each objective computes its loss. What is drawn and
// dropout are functions of options.compute.seed. Throws Error if widths, counts or ids do not fit.
class Stage1Step {
 public:
  Stage1Step(const Stage1Parts& parts, Stage1Batch batch, const Stage1Options& options);

  const Stage1Parts& parts() const { return parts_; }
  const Stage1Options& options() const { return options_; }
  const TextRows& text() const { return batch_.text; }
  const QFormerPass& pass() const { return pass_; }
  const ImageKeysValues& images() const { return images_; }
  // The place of this process's first row in the batch of all processes.
  std::int64_t first_row() const { return first_; }
  // The seed of what an objective draws, the same for all processes.
  std::uint64_t seed(std::uint64_t purpose) const;

  // The queries alone, [B,Q,D]; undefined if no objective asked for them.
  const at::Tensor& queries() const { return apart_.queries.hidden; }
  // With passes.contrast: the loss over all pairs of the batch.
  const ContrastLoss& contrast() const { return *contrast_; }
  // With passes.pairs: the pairs of this process's pictures, with the hidden queries of each, and
  // what was drawn for the batch of all processes.
  const Triplets& triplets() const { return triplets_; }
  const at::Tensor& paired_queries() const { return joint_.queries; }  // [R,Q,D]
  const Negatives& negatives() const { return negatives_; }
  // With passes.generation: what the texts read and predict, and the hidden states [N,D] of that;
  // undefined where no text has a word to predict.
  const GenerationText& generation() const { return generation_; }
  const at::Tensor& generated() const { return joint_.generated; }

  // Each picture with its own text.
  Pairs own_pairs() const;
  // The head of generation on hidden states [N,D] of a pass against words [N].
  TokenLoss name_words(const QFormerPass& pass, const at::Tensor& hidden, const at::Tensor& words,
                       double label_smoothing) const;
  // The loss of an objective that finds nothing to predict in this batch: 0, with a gradient of 0.
  at::Tensor nothing() const;

 private:
  QFormerPass::ApartStates encode_apart() const;
  ContrastLoss compare(const at::Tensor& matches) const;
  at::Tensor matches() const;
  void pair_up(const at::Tensor& matches);
  JointStates encode_pairs(const TextRows& texts) const;

  Stage1Parts parts_;
  Stage1Batch batch_;
  Stage1Options options_;
  QFormerPass pass_;
  ImageKeysValues images_;
  std::int64_t first_;
  QFormerPass::ApartStates apart_;
  std::optional<ContrastLoss> contrast_;
  Negatives negatives_;
  Triplets triplets_;
  GenerationText generation_;
  JointStates joint_;
};

}  // namespace blip2
