#include "blip2/serving/tally_internal.h"

namespace blip2 {

void Tally::end(std::int64_t EngineCounts::*kind) {
  change([&](EngineCounts& counts) { ++(counts.*kind); });
  ended_.notify_all();
}

void Tally::refuse() {
  change([](EngineCounts& counts) { --counts.accepted, ++counts.refused; });
  ended_.notify_all();
}

void Tally::fail(const Ticket& ticket, const JobError& error) {
  if (ticket.job->on_error) call_owner([&] { ticket.job->on_error(error); });
  end(error.fault == JobFault::timed_out ? &EngineCounts::timed_out : &EngineCounts::failed);
}

void Tally::drop(const Ticket& ticket) {
  if (ticket.job->cancelled()) return end(&EngineCounts::cancelled);
  fail(ticket, {JobFault::timed_out, "the answer took longer than the limit for a request"});
}

void Tally::finish(const Ticket& ticket, const std::function<void()>& tell) {
  call_owner(tell);
  change([&](EngineCounts& counts) {
    counts.whole_job.add(seconds_between(ticket.submitted, EngineClock::now()));
  });
  end(&EngineCounts::done);
}

bool Tally::wait_for_all(std::chrono::milliseconds limit) {
  std::unique_lock lock(mutex_);
  return ended_.wait_for(lock, limit, [&] {
    return counts_.accepted ==
           counts_.done + counts_.failed + counts_.cancelled + counts_.timed_out;
  });
}

}  // namespace blip2
