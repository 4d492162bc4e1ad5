#include "blip2/serving/job_queue_internal.h"

#include <algorithm>
#include <chrono>

namespace blip2 {
namespace {

// How soon a job that was cancelled or is late leaves the queue while nothing else happens.
constexpr std::chrono::milliseconds kLook{100};

}  // namespace

std::int64_t Ticket::picture_count() const {
  if (text) return 1;
  return embedding ? std::ssize(embedding->pictures) : std::ssize(score->pictures);
}

std::int64_t Ticket::rows() const {
  return text->options.beams > 1 ? text->options.beams : text->options.return_sequences;
}

bool JobQueue::add(TicketPtr ticket) {
  const std::lock_guard lock(mutex_);
  if (closed_) return false;
  if (items_.size() >= most_) {
    for (TicketPtr& dead : take_if([](const Item& item) {
           return item.stage != Stage::preparing && item.ticket->job->cancelled();
         })) {
      dropped_.push_back(std::move(dead));
    }
  }
  if (items_.size() >= most_) return false;
  if (items_.empty()) to_run_.notify_one();
  items_.push_back({std::move(ticket), Stage::waiting});
  to_prepare_.notify_one();
  return true;
}

std::size_t JobQueue::pictures_ahead() const {
  std::int64_t pictures = 0;
  for (const Item& item : items_) {
    if (item.stage == Stage::waiting) continue;
    pictures += std::max<std::int64_t>(item.ticket->picture_count(), 1);
  }
  return static_cast<std::size_t>(pictures);
}

TicketPtr JobQueue::next_to_prepare() {
  std::unique_lock lock(mutex_);
  const auto is_waiting = [](const Item& item) { return item.stage == Stage::waiting; };
  auto next = items_.end();
  to_prepare_.wait(lock, [&] {
    if (stopped_) return true;
    next = std::find_if(items_.begin(), items_.end(), is_waiting);
    return next != items_.end() && pictures_ahead() < ahead_;
  });
  if (stopped_) return nullptr;
  next->stage = Stage::preparing;
  return next->ticket;
}

void JobQueue::prepared(const Ticket& ticket) {
  const std::lock_guard lock(mutex_);
  for (Item& item : items_) {
    if (item.ticket.get() == &ticket) item.stage = Stage::prepared;
  }
  to_run_.notify_one();
}

void JobQueue::wait() {
  std::unique_lock lock(mutex_);
  const auto is_prepared = [](const Item& item) { return item.stage == Stage::prepared; };
  const auto now = [&] {
    return stopped_ || !dropped_.empty() || std::any_of(items_.begin(), items_.end(), is_prepared);
  };
  if (items_.empty()) {
    to_run_.wait(lock, [&] { return now() || !items_.empty(); });
  }
  to_run_.wait_for(lock, kLook, now);
}

TicketPtr JobQueue::take(const Chosen& chosen, const Chosen& fits) {
  const std::lock_guard lock(mutex_);
  for (auto item = items_.begin(); item != items_.end(); ++item) {
    if (item->stage != Stage::prepared || !chosen(*item->ticket)) continue;
    if (!fits(*item->ticket)) return nullptr;
    TicketPtr ticket = std::move(item->ticket);
    items_.erase(item);
    to_prepare_.notify_all();
    return ticket;
  }
  return nullptr;
}

std::vector<TicketPtr> JobQueue::take_if(const std::function<bool(const Item&)>& unwanted) {
  std::vector<TicketPtr> taken;
  for (auto item = items_.begin(); item != items_.end();) {
    if (!unwanted(*item)) {
      ++item;
      continue;
    }
    taken.push_back(std::move(item->ticket));
    item = items_.erase(item);
    to_prepare_.notify_all();
  }
  return taken;
}

std::vector<TicketPtr> JobQueue::take_dead() {
  const auto now = EngineClock::now();
  const std::lock_guard lock(mutex_);
  std::vector<TicketPtr> dead = take_if(
      [&](const Item& item) { return item.stage != Stage::preparing && item.ticket->dead(now); });
  for (TicketPtr& ticket : dropped_) dead.push_back(std::move(ticket));
  dropped_.clear();
  return dead;
}

std::vector<TicketPtr> JobQueue::take_all() {
  std::unique_lock lock(mutex_);
  to_run_.wait(lock, [&] {
    return std::none_of(items_.begin(), items_.end(),
                        [](const Item& item) { return item.stage == Stage::preparing; });
  });
  std::vector<TicketPtr> all = take_if([](const Item&) { return true; });
  for (TicketPtr& ticket : dropped_) all.push_back(std::move(ticket));
  dropped_.clear();
  return all;
}

void JobQueue::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
}

void JobQueue::stop() {
  const std::lock_guard lock(mutex_);
  closed_ = stopped_ = true;
  to_prepare_.notify_all();
  to_run_.notify_all();
}

bool JobQueue::closed() const {
  const std::lock_guard lock(mutex_);
  return closed_;
}

bool JobQueue::stopped() const {
  const std::lock_guard lock(mutex_);
  return stopped_;
}

JobQueue::Counts JobQueue::counts() const {
  const std::lock_guard lock(mutex_);
  Counts counts{items_.size(), 0, 0};
  for (const Item& item : items_) {
    const auto pictures = static_cast<std::size_t>(item.ticket->picture_count());
    if (item.stage == Stage::waiting) counts.pictures_waiting += pictures;
    if (item.stage == Stage::preparing) counts.pictures_decoding += pictures;
  }
  return counts;
}

}  // namespace blip2
