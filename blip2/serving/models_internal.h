#pragma once

#include <torch/torch.h>

#include <filesystem>
#include <optional>
#include <span>

#include "blip2/model/generation_model.h"
#include "blip2/model/retrieval_model.h"
#include "blip2/serving/engine.h"
#include "blip2/serving/ticket_internal.h"

namespace blip2 {

// The models of one directory, at least one: the one that writes, if there is a language model, and
// the one of stage 1 that compares. Only the model's thread computes with them; any thread may read
// what they are.
class Models {
 public:
  Models(const std::filesystem::path& folder, const EngineOptions& options);

  const std::optional<GenerationModel>& writing() const { return writing_; }
  const std::optional<RetrievalModel>& retrieving() const { return retrieving_; }
  // Whether both have the same features of every picture.
  bool share_features() const { return shared_; }
  const EngineFacts& facts() const { return facts_; }

  // How pictures are prepared for a job, and what is known of them that the job needs.
  const Preprocessing& preprocessing(const Ticket& ticket) const;
  at::Tensor features_for(const Ticket& ticket, const KnownPicture& known) const;
  bool knows_enough(const Ticket& ticket, const KnownPicture& known) const;

  // Completes what is known of pictures, for text jobs or for the others: each different one is
  // encoded once, and what is new is put into the cache.
  void see(std::span<PreparedPicture* const> pictures, bool for_text, PictureCache& cache) const;

 private:
  void add_features(std::span<PreparedPicture* const> pictures, const ImageSide& images,
                    at::Tensor KnownPicture::*features) const;
  void add_soft_prompts(std::span<PreparedPicture* const> pictures) const;
  // A first pass over a black picture reads the weights into memory.
  void warm_up() const;

  std::optional<GenerationModel> writing_;
  std::optional<RetrievalModel> retrieving_;
  bool shared_ = false;
  EngineFacts facts_;
};

}  // namespace blip2
