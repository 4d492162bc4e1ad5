#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace blip2 {

// Threads that take work from a bounded queue in order. Work must not throw. Any thread may call
// its functions.
class Workers {
 public:
  Workers(std::size_t threads, std::size_t most_waiting);
  ~Workers();  // ends after the work that runs; work that waits is dropped
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  // False if the queue is full: then the work is dropped.
  bool post(std::function<void()> work);
  std::size_t waiting() const;

 private:
  void run();

  const std::size_t most_waiting_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> queue_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace blip2
