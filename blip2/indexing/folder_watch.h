#pragma once

#include <chrono>
#include <map>
#include <string>
#include <vector>

namespace blip2 {

// Notices changes in folders by inotify. It says that something has changed, not what: whoever
// watches walks over the folders again, so that nothing is lost when events are. Folders on network
// drives give no events for what other machines do. For one thread at a time.
class FolderWatch {
 public:
  // Error if the system gives no inotify instance.
  FolderWatch();
  ~FolderWatch();
  FolderWatch(const FolderWatch&) = delete;
  FolderWatch& operator=(const FolderWatch&) = delete;

  // Watches these folders (not those below them), and no others that it has watched before. Returns
  // whether there was one that it did not watch: what has happened there meanwhile is unknown.
  // Folders that are gone are passed over. Error if the system watches no more of them.
  bool watch(const std::vector<std::string>& folders);

  // Waits until something happens, and then until nothing has happened for `quiet`, or has happened
  // all the time for twenty times as long. Returns after `longest` in any case. Throws Interrupted
  // after a signal.
  void wait(std::chrono::milliseconds quiet, std::chrono::milliseconds longest);

 private:
  bool read_events();

  int descriptor_ = -1;
  std::map<std::string, int> watched_;  // folders and the kernel's numbers for them
};

}  // namespace blip2
