#include "blip2/processes/shared_memory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <system_error>
#include <vector>

namespace blip2 {
namespace {

// The machine as far as sharing goes: its present boot, and the network that processes see.
std::string machine() {
  std::string boot;
  std::getline(std::ifstream("/proc/sys/kernel/random/boot_id"), boot);
  std::error_code error;
  const auto network = std::filesystem::read_symlink("/proc/self/ns/net", error);
  return boot.empty() || error ? std::string() : boot + " " + network.string();
}

bool all_alike(const std::vector<std::string>& texts) {
  return !texts[0].empty() && std::all_of(texts.begin(), texts.end(),
                                          [&](const auto& text) { return text == texts[0]; });
}

// A named file of shared memory, closed at the end of its scope.
class SharedFile {
 public:
  SharedFile(const std::string& name, int flags) : file_(shm_open(name.c_str(), flags, 0600)) {}
  ~SharedFile() {
    if (file_ >= 0) close(file_);
  }
  SharedFile(const SharedFile&) = delete;
  SharedFile& operator=(const SharedFile&) = delete;

  // Takes all its pages at once: later there might be none left, which would end the process.
  bool reserve(std::size_t bytes) const {
    return file_ >= 0 && posix_fallocate(file_, 0, static_cast<off_t>(bytes)) == 0;
  }
  // Its memory; nullptr if there is none.
  void* map(std::size_t bytes) const {
    if (file_ < 0) return nullptr;
    void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file_, 0);
    return memory == MAP_FAILED ? nullptr : memory;
  }

 private:
  int file_;
};

std::string fresh_name() {
  std::random_device random;
  return fmt::format("/blip2-{:08x}{:08x}", random(), random());
}

}  // namespace

std::unique_ptr<SharedMemory> SharedMemory::open(const Ranks& ranks, std::int64_t count) {
  if (!all_alike(ranks.all_gather_text(machine()))) return nullptr;
  const std::size_t bytes = static_cast<std::size_t>(ranks.size() * count) * sizeof(float);
  std::string name;
  if (ranks.rank() == 0) {
    name = fresh_name();
    if (!SharedFile(name, O_CREAT | O_EXCL | O_RDWR).reserve(bytes)) {
      shm_unlink(name.c_str());
      name.clear();
    }
  }
  name = ranks.all_gather_text(name).front();
  void* memory = name.empty() ? nullptr : SharedFile(name, O_RDWR).map(bytes);
  const bool all = all_alike(ranks.all_gather_text(memory ? "mapped" : ""));
  if (ranks.rank() == 0 && !name.empty()) shm_unlink(name.c_str());
  if (all) return std::unique_ptr<SharedMemory>(new SharedMemory(memory, bytes, count));
  if (memory) munmap(memory, bytes);
  return nullptr;
}

SharedMemory::SharedMemory(void* begin, std::size_t bytes, std::int64_t count)
    : begin_(begin), bytes_(bytes), count_(count) {}

SharedMemory::~SharedMemory() {
  munmap(begin_, bytes_);
}

at::Tensor SharedMemory::part(int rank) const {
  return at::from_blob(static_cast<float*>(begin_) + rank * count_, {count_}, at::kFloat);
}

}  // namespace blip2
