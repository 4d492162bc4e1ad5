#include "blip2/nn/step_memory.h"

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/alloc_cpu.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdint>
#include <map>
#include <mutex>
#include <unordered_map>
#include <utility>

#include "blip2/base/allocation.h"

namespace blip2 {
namespace {

constexpr std::size_t kSmallestStep = std::size_t{64} << 10;

// Sizes are rounded up to eighths of powers of two, so that steps of about the same rows share
// blocks.
std::size_t block_size(std::size_t bytes) {
  const std::size_t step = std::max(kSmallestStep, std::bit_floor(bytes) / 8);
  return (bytes + step - 1) / step * step;
}

struct KeptMemory {
  Pages pages;
  std::size_t bytes = 0;
  std::uint64_t freed = 0;  // blocks that were freed before it
};

class BlockAllocator final : public c10::Allocator {
 public:
  at::DataPtr allocate(std::size_t bytes) override {
    if (bytes < StepMemory::kLeast || owners_ == 0) return before_->allocate(bytes);
    void* const data = take(block_size(bytes));
    return {data, data, &release, at::Device(at::kCPU)};
  }
  at::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, std::size_t bytes) const override {
    default_copy_data(to, from, bytes);
  }

  void begin() {
    const std::lock_guard lock(mutex_);
    if (!before_) {
      before_ = c10::GetCPUAllocator();
      c10::SetCPUAllocator(this);
    }
    if (owners_++ == 0) most_ = used_bytes_;
  }
  void end() {
    const std::lock_guard lock(mutex_);
    if (--owners_ == 0) keep_at_most(0);
  }
  void give_back() {
    const std::lock_guard lock(mutex_);
    keep_at_most(0);
  }
  std::size_t kept() {
    const std::lock_guard lock(mutex_);
    return kept_bytes_;
  }
  std::size_t used() {
    const std::lock_guard lock(mutex_);
    return used_bytes_;
  }

 private:
  static void release(void* data);

  void* take(std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    KeptMemory block;
    const auto fitting = kept_.lower_bound(bytes);
    if (fitting != kept_.end() && fitting->first <= bytes + bytes / 4) {
      block = std::move(fitting->second);
      kept_.erase(fitting);
      kept_bytes_ -= block.bytes;
    }
    const std::size_t size = block.pages ? block.bytes : bytes;
    most_ = std::max(most_, used_bytes_ + size);
    keep_at_most(most_ + most_ / 8 - used_bytes_ - size);
    if (!block.pages) block = {zeroed_pages(bytes), bytes};
    used_bytes_ += size;
    void* const data = block.pages.get();
    used_.emplace(data, std::move(block));
    return data;
  }

  void put_back(void* data) {
    const std::lock_guard lock(mutex_);
    const auto found = used_.find(data);
    if (found == used_.end()) return c10::free_cpu(data);  // smaller than a block
    KeptMemory block = std::move(found->second);
    used_.erase(found);
    used_bytes_ -= block.bytes;
    if (owners_ == 0) return;
    block.freed = ++freed_;
    kept_bytes_ += block.bytes;
    kept_.emplace(block.bytes, std::move(block));
    keep_at_most(most_ + most_ / 8 - used_bytes_);
  }

  void keep_at_most(std::size_t bytes) {
    while (kept_bytes_ > bytes) {
      const auto oldest = std::min_element(kept_.begin(), kept_.end(), [](auto& a, auto& b) {
        return a.second.freed < b.second.freed;
      });
      kept_bytes_ -= oldest->second.bytes;
      kept_.erase(oldest);
    }
  }

  std::mutex mutex_;
  std::unordered_map<void*, KeptMemory> used_;
  std::multimap<std::size_t, KeptMemory> kept_;
  std::size_t used_bytes_ = 0, kept_bytes_ = 0;
  std::size_t most_ = 0;  // bytes in use at once
  std::uint64_t freed_ = 0;
  std::atomic<int> owners_ = 0;
  c10::Allocator* before_ = nullptr;  // LibTorch's own
};

// LibTorch has one allocator for the process. This one takes its place at the first use and is
// never destroyed, as tensors may be freed after everything else.
BlockAllocator& allocator() {
  static auto* const all = new BlockAllocator;
  return *all;
}

void BlockAllocator::release(void* data) {
  allocator().put_back(data);
}

}  // namespace

StepMemory::StepMemory() {
  allocator().begin();
}
StepMemory::~StepMemory() {
  allocator().end();
}
void StepMemory::give_back() {
  allocator().give_back();
}
std::size_t StepMemory::kept() {
  return allocator().kept();
}
std::size_t StepMemory::used() {
  return allocator().used();
}

}  // namespace blip2
