#pragma once

#include <cstdint>
#include <vector>

namespace blip2 {

// One data set of a mixture: items [first, first + count) of the whole.
struct SampleSource {
  std::int64_t count = 0;
  double weight = 0;  // share of the samples relative to other sources; 0: `count` decides
};

struct SamplerOptions {
  std::uint64_t seed = 0;
  std::int64_t batch_size = 1;
  // Length of each item: batches hold items of similar length, so that there is little padding.
  std::vector<std::int32_t> lengths;
  // The picture of each item: no picture comes twice in a batch, where the window allows it.
  std::vector<std::int64_t> distinct;
  // The number of batches that are composed together when `lengths` or `distinct` are given.
  std::int64_t window = 16;
};

// Endless mini-batches of training items. batch(step) is a function of the options and the step
// alone, so a resumed run needs nothing but its step. Each epoch of a source takes each of its
// items once, in random order. A batch may span two epochs, so every batch has batch_size items.
// Sources with weights are interleaved in exact proportion. batch() is for one thread at a time.
class Sampler {
 public:
  // Error if there is no item, a weight is negative or given for some sources only, or the length
  // of a list in the options is not the number of items.
  Sampler(std::vector<SampleSource> sources, SamplerOptions options);

  // The `batch_size` items of a step.
  std::vector<std::int64_t> batch(std::int64_t step);

  std::int64_t items() const { return items_; }
  // The number of epochs before `step`, as the mean over all items of the sources.
  double epoch(std::int64_t step) const;

 private:
  struct Order {
    std::int64_t first = 0, count = 0, epoch = -1;
    std::vector<std::int64_t> items;
  };
  std::int64_t item_at(std::int64_t slot);
  std::int64_t item_of(std::size_t source, std::int64_t position);
  void compose_window(std::int64_t window);

  SamplerOptions options_;
  std::int64_t items_ = 0;
  std::vector<Order> orders_;
  // The source of each slot in a period of slots; empty if all sources form one.
  std::vector<std::int32_t> pattern_;
  std::vector<std::int64_t> pattern_counts_;
  std::int64_t period_ = -1, window_ = -1;
  std::vector<std::int32_t> period_sources_;
  std::vector<std::int64_t> period_ranks_;
  std::vector<std::vector<std::int64_t>> window_batches_;
};

// Items 0 … count - 1 in order, for validation; the last batch may be smaller.
std::vector<std::vector<std::int64_t>> sequential_batches(std::int64_t count,
                                                          std::int64_t batch_size);

}  // namespace blip2
