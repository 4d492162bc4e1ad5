#pragma once

#include <condition_variable>
#include <cstddef>
#include <functional>
#include <list>
#include <mutex>
#include <vector>

#include "blip2/serving/ticket_internal.h"

namespace blip2 {

// The jobs that do not run yet, in the order in which they came: first their pictures are decoded,
// by several threads, then the model's thread takes them. Any thread may call its functions.
class JobQueue {
 public:
  // `most`: jobs in the queue; `ahead`: pictures that are decoded or wait decoded for the model; a
  // job begins to be prepared where there is room for one more, however many it has.
  JobQueue(std::size_t most, std::size_t ahead) : most_(most), ahead_(ahead) {}

  // False if the queue is full or takes no more. Jobs that were cancelled make room.
  bool add(TicketPtr ticket);

  // For a thread that prepares jobs: the next one, as soon as there is one; nullptr: the end.
  TicketPtr next_to_prepare();
  void prepared(const Ticket& ticket);

  // For the model's thread. Waits until it is worthwhile to look again.
  void wait();
  using Chosen = std::function<bool(const Ticket&)>;
  // Takes the first prepared job of those that `chosen` names, if it fits; otherwise nullptr.
  TicketPtr take(const Chosen& chosen, const Chosen& fits);
  // Takes all that were cancelled or are late, but for those that are being prepared.
  std::vector<TicketPtr> take_dead();
  // Takes all; those that are being prepared once they are.
  std::vector<TicketPtr> take_all();

  // Takes no more jobs.
  void close();
  // Ends all waiting; takes no more jobs.
  void stop();
  bool closed() const;
  bool stopped() const;

  struct Counts {
    std::size_t jobs, pictures_waiting, pictures_decoding;
  };
  Counts counts() const;

 private:
  enum class Stage { waiting, preparing, prepared };
  struct Item {
    TicketPtr ticket;
    Stage stage;
  };
  // Pictures of jobs that are prepared or about to be; a job without any counts as one.
  std::size_t pictures_ahead() const;
  std::vector<TicketPtr> take_if(const std::function<bool(const Item&)>& unwanted);

  const std::size_t most_, ahead_;
  mutable std::mutex mutex_;
  std::condition_variable to_prepare_, to_run_;
  std::list<Item> items_;
  std::vector<TicketPtr> dropped_;  // cancelled ones that made room, until take_dead()
  bool closed_ = false, stopped_ = false;
};

}  // namespace blip2
