#include "blip2/costs/machine_speed.h"

#include <ATen/Parallel.h>
#include <torch/torch.h>

#include <atomic>
#include <cstdint>
#include <vector>

#include "blip2/costs/fastest.h"

namespace blip2 {
namespace {

// Reads all words; the sum keeps the compiler from leaving the reads out.
std::uint64_t sum_of(const std::vector<std::uint64_t>& words) {
  std::atomic<std::uint64_t> total{0};
  at::parallel_for(0, std::ssize(words), 1 << 16, [&](std::int64_t begin, std::int64_t end) {
    std::uint64_t sum = 0;
    for (std::int64_t i = begin; i < end; ++i) sum += words[static_cast<std::size_t>(i)];
    total += sum;
  });
  return total;
}

}  // namespace

MachineSpeed measure_machine(c10::ScalarType type) {
  constexpr std::size_t kBytes = std::size_t{512} << 20;
  constexpr std::int64_t kSide = 2048;
  const std::vector<std::uint64_t> words(kBytes / sizeof(std::uint64_t), 1);
  std::uint64_t sum = 0;
  MachineSpeed speed;
  speed.bytes_per_second = kBytes / fastest(5, [&] { sum = sum_of(words); });
  TORCH_CHECK(sum == words.size(), "memory was not read as it was written");
  const at::InferenceMode inference;
  const at::Tensor a = at::ones({kSide, kSide}, type), b = at::ones({kSide, kSide}, type);
  const double once = 2.0 * kSide * kSide * kSide;
  speed.flops = once / fastest(8, [&] { at::mm(a, b); });
  return speed;
}

}  // namespace blip2
