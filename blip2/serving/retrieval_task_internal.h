#pragma once

#include <cstddef>
#include <vector>

#include "blip2/serving/models_internal.h"
#include "blip2/serving/tally_internal.h"

namespace blip2 {

// An embedding or score job, computed in steps that other jobs can run between. Its numbers do not
// depend on other jobs. For the model's thread.
class RetrievalTask {
 public:
  // Keeps references to all. The model has stage-1 heads.
  RetrievalTask(TicketPtr ticket, const Models& models, PictureCache& cache)
      : ticket_(std::move(ticket)), models_(models), cache_(cache) {}

  const TicketPtr& ticket() const { return ticket_; }
  // Computes some more; true: that was all.
  bool step();
  void tell(Tally& tally);

 private:
  void see_pictures();
  void embed_pictures();
  void embed_texts();
  void score_picture();
  ImageKeysValues projected(std::size_t picture) const;

  TicketPtr ticket_;
  const Models& models_;
  PictureCache& cache_;
  std::size_t seen_ = 0;                     // pictures
  std::vector<Embedding> pictures_, texts_;  // of an embedding job
  std::vector<at::Tensor> vectors_;          // [n, E] of the texts, some at a time
  std::vector<std::vector<MatchScore>> scores_;
};

}  // namespace blip2
