#include "blip2/indexing/folder_watch.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <optional>
#include <set>

#include "blip2/base/error.h"
#include "blip2/base/interrupt.h"

namespace blip2 {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr milliseconds kLook{200};  // how often it looks whether a signal has come
constexpr int kMostQuiets = 20;
constexpr std::uint32_t kEvents = IN_CREATE | IN_MODIFY | IN_CLOSE_WRITE | IN_ATTRIB | IN_DELETE |
                                  IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF |
                                  IN_ONLYDIR | IN_EXCL_UNLINK;

}  // namespace

FolderWatch::FolderWatch() : descriptor_(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC)) {
  if (descriptor_ >= 0) return;
  throw Error(std::string("cannot watch folders: ") + std::strerror(errno), "inotify",
              "raise the system's limit fs.inotify.max_user_instances");
}

FolderWatch::~FolderWatch() {
  ::close(descriptor_);
}

bool FolderWatch::watch(const std::vector<std::string>& folders) {
  const std::set<std::string> wanted(folders.begin(), folders.end());
  for (auto known = watched_.begin(); known != watched_.end();) {
    const bool keep = wanted.contains(known->first);
    if (!keep) ::inotify_rm_watch(descriptor_, known->second);
    known = keep ? std::next(known) : watched_.erase(known);
  }
  bool more = false;
  for (const std::string& folder : wanted) {
    // Also of those that are known: another folder may be there under the name by now.
    const int number = ::inotify_add_watch(descriptor_, folder.c_str(), kEvents);
    if (number < 0 && errno == ENOSPC) {
      throw Error(fmt::format("the system watches no more than {} folders", watched_.size()),
                  folder, "raise its limit fs.inotify.max_user_watches by sysctl");
    }
    if (number < 0) continue;
    const auto [place, fresh] = watched_.try_emplace(folder, number);
    more = more || fresh || place->second != number;
    place->second = number;
  }
  return more;
}

bool FolderWatch::read_events() {
  alignas(inotify_event) std::array<char, 64 * 1024> buffer;
  bool any = false;
  for (;;) {
    const ssize_t count = ::read(descriptor_, buffer.data(), buffer.size());
    if (count > 0) any = true;
    if (count <= 0 && errno != EINTR) return any;
  }
}

void FolderWatch::wait(milliseconds quiet, milliseconds longest) {
  const auto start = Clock::now();
  std::optional<Clock::time_point> first, last;  // events
  for (;;) {
    if (interrupted()) throw Interrupted{};
    const auto now = Clock::now();
    if (last && (now - *last >= quiet || now - *first >= kMostQuiets * quiet)) return;
    auto until = start + longest;
    if (!last && now >= until) return;
    if (last) until = *last + quiet;
    const auto left = std::chrono::duration_cast<milliseconds>(until - now) + milliseconds(1);
    pollfd ready{descriptor_, POLLIN, 0};
    ::poll(&ready, 1, static_cast<int>(std::min(left, kLook).count()));
    if (!read_events()) continue;
    last = Clock::now();
    if (!first) first = last;
  }
}

}  // namespace blip2
