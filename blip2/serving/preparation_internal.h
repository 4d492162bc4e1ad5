#pragma once

#include "blip2/base/keyed_hash.h"
#include "blip2/serving/models_internal.h"
#include "blip2/serving/tally_internal.h"

namespace blip2 {

// What the picture threads do with a job: check it, turn its texts into tokens, and its pictures
// into the encoders' input unless they are known. Several threads may use it at once.
class Preparation {
 public:
  // Keeps references to all.
  Preparation(const Models& models, PictureCache& cache, const EngineOptions& options, Tally& tally)
      : models_(models), cache_(cache), options_(options), tally_(tally) {}

  // Completes the ticket; what is wrong with the job becomes its failure.
  void prepare(Ticket& ticket) const;

 private:
  void fit_answer(Ticket& ticket) const;
  void prepare_text(Ticket& ticket) const;
  void prepare_items(Ticket& ticket, const std::vector<std::string>& texts) const;
  void prepare_picture(Ticket& ticket, JobPicture& picture) const;

  const Models& models_;
  PictureCache& cache_;
  const EngineOptions& options_;
  Tally& tally_;
  const KeyedHash hash_ = KeyedHash::random();
};

}  // namespace blip2
