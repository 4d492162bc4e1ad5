#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace blip2 {

// SplitMix64's finaliser (Steele et al. 2014): a bijection that scatters nearby inputs.
constexpr std::uint64_t scatter(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

// The seed of a sub-stream: derive_seed(seed, step, purpose). Randomness that is a function of the
// seed and the step needs no saved state to resume.
template <typename... Parts>
constexpr std::uint64_t derive_seed(std::uint64_t seed, Parts... parts) {
  ((seed = scatter(seed ^ scatter(static_cast<std::uint64_t>(parts)))), ...);
  return seed;
}

// A small random generator whose stream is the same on every machine and standard library.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}

  std::uint64_t next() {
    const std::uint64_t value = scatter(state_);
    state_ += 0x9e3779b97f4a7c15u;
    return value;
  }
  // Uniform in [0, 1), with 53 bits.
  double uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }
  double uniform(double low, double high) { return low + (high - low) * uniform(); }
  // Uniform in [0, n); n > 0. Unbiased (Lemire 2019).
  std::uint64_t below(std::uint64_t n) {
    for (;;) {
      const unsigned __int128 product = static_cast<unsigned __int128>(next()) * n;
      if (static_cast<std::uint64_t>(product) >= -n % n) {
        return static_cast<std::uint64_t>(product >> 64);
      }
    }
  }
  template <typename T>
  void shuffle(std::vector<T>& items) {
    for (std::size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[below(i)]);
  }

 private:
  std::uint64_t state_;
};

}  // namespace blip2
