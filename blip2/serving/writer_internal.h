#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "blip2/serving/writing_internal.h"

namespace blip2 {

// The text jobs that run: their prompts are read, then all are written side by side, a token at a
// time. Every job ends here, in one way or another. For the model's thread.
class Writer {
 public:
  // Keeps references to all. `prompt_part`: most positions of a prompt that are read at a time. If
  // there is no model that writes, no job may come.
  Writer(const Models& models, std::int64_t prompt_part, Tally& tally);

  bool idle() const { return running_.empty() && long_.empty(); }
  // Sequences of the jobs, those included that their beams and answers will need.
  std::int64_t rows() const;

  // Reads the prompts of jobs, and chooses their first tokens. Longer prompts wait for
  // read_part(). The pictures have been seen.
  void read(std::vector<TicketPtr> tickets);
  // Reads one part of the first long prompt, if there is one.
  void read_part();
  // Writes one more token of every row.
  void step();

  // Ends jobs that were cancelled or are late.
  void drop_dead();
  void fail_all(const JobError& error);

 private:
  struct Running {
    std::unique_ptr<Writing> job;
    std::size_t row = 0, rows = 1;  // in the session
  };
  struct LongPrompt {
    Running running;
    std::unique_ptr<LanguageSession> session;
    at::Tensor input;
    std::int64_t read = 0;
  };
  std::unique_ptr<Writing> start(const TicketPtr& ticket);
  std::unique_ptr<LanguageSession> session_for(std::int64_t positions, std::int64_t written) const;
  void read_whole(std::vector<Running> jobs, const std::vector<at::Tensor>& inputs);
  bool read_part(LongPrompt& prompt);  // true: that was the last one
  // Takes logits, row after row, and tells the owners; returns those that have not ended.
  std::vector<Running> advance(std::vector<Running> jobs, std::span<const float> logits);
  // Rows that were just read join those that run.
  void join(LanguageSession& session, std::vector<Running> jobs);
  void fail(const std::vector<Running>& jobs, const std::exception& error);
  void report_running();

  const GenerationModel& model() const { return *models_.writing(); }

  const Models& models_;
  const std::int64_t prompt_part_, vocabulary_;
  Tally& tally_;
  std::unique_ptr<LanguageSession> session_;
  std::vector<Running> running_;
  std::deque<LongPrompt> long_;
};

}  // namespace blip2
