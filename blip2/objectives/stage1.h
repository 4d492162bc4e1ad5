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

// A language model's states of a batch's texts, for a Q-Former that reads them: MRM reads `plain`,
// MLM `masked`, of the texts without the words that it predicts. Either is empty in a step that
// does not read it. Contrast, matching and generation, which tell texts of the batch apart or write
// them, read pictures alone.
struct Stage1Language {
  LanguageStates plain, masked;
  std::vector<std::uint64_t> seeds;  // by which mask_text chose the words of each text
};

// A mini-batch of B pictures with one text each; with R ranks, this process's share of a batch of R
// * B.
struct Stage1Batch {
  ImageFeatures image_embeds;  // of B pictures, f32 or bf16: features, before `norm` below
  TextRows text;               // B texts, each [CLS] ... [SEP]
  at::Tensor image_ids;        // [B] int64: equal for the same picture
  at::Tensor caption_ids;      // [B] int64: equal for the same caption
  // Negatives to take instead of drawn ones, for the batch of all processes.
  std::optional<Negatives> negatives = std::nullopt;
  std::optional<Stage1Language> language = std::nullopt;
};

// Passes that several objectives read. A step computes a pass once if one of its objectives needs
// it.
struct SharedPasses {
  bool contrast = false;    // queries alone and texts alone, and the similarity of all pairs
  bool pairs = false;       // pictures with their own texts and with negatives
  bool generation = false;  // each text with causal attention, after its picture's queries alone

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
  std::int64_t decoder_token = -1;  // [DEC], the first token of text generation
  double label_smoothing = 0.1;     // for contrast and generation
  bool clamp_temperature = true;
  // The processes over whose batches contrast and negatives reach; nullptr: this one alone.
  const Ranks* ranks = nullptr;
};

// An objective's loss on this process.
struct ObjectiveLoss {
  at::Tensor loss;      // []
  double accuracy = 0;  // share of the predictions that are right
  // The weight of this process's loss: weights of all processes sum to 1, and the sum of weight
  // times loss is the loss of the joined batch. 1 without ranks.
  double share = 1;
  std::vector<std::pair<std::string, at::Tensor>> drawn = {};  // random choices, for tests
};

// One step over a batch: the keys and values of its pictures and the passes that objectives share
// (arXiv 2301.12597, section 3.2), from which each objective computes its loss. Random draws and
// dropout are functions of options.compute.seed. Throws Error if widths, counts or ids do not fit.
class Stage1Step {
 public:
  Stage1Step(const Stage1Parts& parts, Stage1Batch batch, const Stage1Options& options);

  const Stage1Parts& parts() const { return parts_; }
  const Stage1Options& options() const { return options_; }
  const TextRows& text() const { return batch_.text; }
  const QFormerPass& pass() const { return pass_; }
  const ImageKeysValues& images() const { return images_; }
  const std::optional<Stage1Language>& language() const { return batch_.language; }
  // The keys and values of some of its states.
  LanguageKeysValues language_keys(const LanguageStates& states) const;
  // The place of this process's first row in the batch of all processes.
  std::int64_t first_row() const { return first_; }
  // The seed of an objective's random draws, the same for all processes.
  std::uint64_t seed(std::uint64_t purpose) const;

  // The queries alone, [B,Q,D]; undefined if no objective asked for them.
  const at::Tensor& queries() const { return unimodal_.queries.hidden; }
  // With passes.contrast: the loss over all pairs of the batch.
  const ContrastLoss& contrast() const { return *contrast_; }
  // With passes.pairs: the pairs of this process's pictures, the hidden queries of each pair, and
  // the negatives drawn for the batch of all processes.
  const Triplets& triplets() const { return triplets_; }
  const at::Tensor& paired_queries() const { return joint_.queries; }  // [R,Q,D]
  const Negatives& negatives() const { return negatives_; }
  // With passes.generation: the inputs and targets of text generation, and the hidden states [N,D]
  // of the inputs; undefined if no text has a word to predict.
  const GenerationText& generation() const { return generation_; }
  const at::Tensor& generated() const { return joint_.generated; }

  // Each picture with its own text.
  Pairs own_pairs() const;
  // The loss of the text-generation head on hidden states [N,D] of a pass against words [N].
  TokenLoss word_loss(const QFormerPass& pass, const at::Tensor& hidden, const at::Tensor& words,
                      double label_smoothing) const;
  // The loss of an objective that finds nothing to predict in this batch: 0, with a gradient of 0.
  at::Tensor zero_loss() const;

 private:
  QFormerPass::UnimodalStates encode_unimodal() const;
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
  QFormerPass::UnimodalStates unimodal_;
  std::optional<ContrastLoss> contrast_;
  Negatives negatives_;
  Triplets triplets_;
  GenerationText generation_;
  JointStates joint_;
};

}  // namespace blip2
