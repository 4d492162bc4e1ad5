#pragma once

#include <memory>
#include <vector>

#include "blip2/decoding/search.h"
#include "blip2/serving/models_internal.h"
#include "blip2/serving/tally_internal.h"
#include "blip2/serving/text_stream_internal.h"

namespace blip2 {

// A text job that is being written: its search, and what its owner has been told. For the model's
// thread.
class Writing {
 public:
  // Keeps a reference to the model. Error if the model cannot search with the job's options.
  Writing(TicketPtr ticket, const GenerationModel& model);

  const Ticket& ticket() const { return *ticket_; }
  // Lets the Q-Former read the picture with the prompt, if it reads prompts. Several threads may do
  // so for a job each.
  void see_prompt();
  // The input embeddings [n, width] of picture and prompt.
  at::Tensor input() const;

  // Takes the logits after its rows; its next rows are moves(). Any thread may call it.
  void advance(std::span<const float> logits);
  const std::vector<Search::Move>& moves() const { return moves_; }
  bool ended() const { return moves_.empty(); }
  // Tells the owner what is new; once it has ended, everything.
  void tell(Tally& tally);

 private:
  struct Told {
    TextStream stream;
    std::size_t tokens = 0;
    bool ended = false;
  };
  void tell_new(std::size_t i, const Search::Written& answer);
  void tell_piece(std::int64_t choice, std::string text, std::vector<ScoredToken> tokens) const;
  void tell_all(Tally& tally);
  std::vector<ScoredToken> scored(std::span<const ChosenToken> tokens) const;
  TextResult result() const;

  TicketPtr ticket_;
  const GenerationModel& model_;
  std::unique_ptr<Search> search_;
  at::Tensor soft_;  // [1, Q, width]
  std::vector<Search::Move> moves_;
  std::vector<Told> told_;
  EngineClock::time_point started_ = EngineClock::now(), read_;
  bool first_ = true;
};

}  // namespace blip2
