#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>

namespace blip2 {

// One request, when it has ended.
struct LoggedRequest {
  std::string id, remote, method, path;
  int status = 0;
  std::uint64_t bytes = 0;  // of the answer, header included
  double milliseconds = 0;  // from the header's end (or the refusal) to the answer's last byte
};

// The JSON object of docs: time (UTC, milliseconds), id, remote, method, path, status, bytes,
// milliseconds. Long paths are cut.
std::string log_text(const LoggedRequest& request, std::chrono::system_clock::time_point time);

// Gives a line for each request to the taker, one at a time. Any thread may call it.
class RequestLog {
 public:
  using Taker = std::function<void(const std::string& line)>;
  explicit RequestLog(Taker taker);  // may be empty
  void add(const LoggedRequest& request);

 private:
  Taker taker_;
  std::mutex mutex_;
};

}  // namespace blip2
