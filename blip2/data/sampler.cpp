#include "blip2/data/sampler.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>
#include <utility>

#include "blip2/base/error.h"
#include "blip2/base/random.h"

namespace blip2 {
namespace {

// Sub-streams of the seed.
enum : std::uint64_t { kEpochOrder = 1, kPeriodOrder = 2, kWindowOrder = 3 };

constexpr std::int64_t kPeriod = 1000;

// How many slots of a period each source gets: largest remainders, at least one each.
std::vector<std::int64_t> apportion(const std::vector<SampleSource>& sources) {
  double sum = 0;
  for (const auto& source : sources) sum += source.weight;
  std::vector<std::int64_t> counts;
  std::vector<std::pair<double, std::size_t>> remainders;
  std::int64_t left = kPeriod;
  for (std::size_t s = 0; s < sources.size(); ++s) {
    const double exact = sources[s].weight / sum * kPeriod;
    counts.push_back(std::max<std::int64_t>(1, static_cast<std::int64_t>(exact)));
    remainders.emplace_back(static_cast<double>(counts.back()) - exact, s);
    left -= counts.back();
  }
  std::sort(remainders.begin(), remainders.end());
  for (std::size_t i = 0; left > 0; --left) counts[remainders[i++ % remainders.size()].second]++;
  return counts;
}

void check_sources(const std::vector<SampleSource>& sources) {
  std::size_t weighted = 0;
  for (const auto& source : sources) {
    if (source.count <= 0) throw Error("expected at least one item in every data set", "sampler");
    if (!(source.weight >= 0) || !std::isfinite(source.weight)) {
      throw Error(fmt::format("expected a weight of 0 or more, got {}", source.weight), "sampler");
    }
    weighted += source.weight > 0;
  }
  if (sources.empty()) throw Error("expected at least one data set", "sampler");
  if (weighted != 0 && weighted != sources.size()) {
    throw Error("expected a weight for every data set or for none", "sampler");
  }
}

}  // namespace

Sampler::Sampler(std::vector<SampleSource> sources, SamplerOptions options)
    : options_(std::move(options)) {
  check_sources(sources);
  for (const auto& source : sources) {
    orders_.push_back({items_, source.count, -1, {}});
    items_ += source.count;
  }
  if (sources[0].weight == 0) {
    orders_ = {{0, items_, -1, {}}};
  } else if (sources.size() > 1) {
    pattern_counts_ = apportion(sources);
    for (std::size_t s = 0; s < pattern_counts_.size(); ++s) {
      pattern_.insert(pattern_.end(), pattern_counts_[s], static_cast<std::int32_t>(s));
    }
  }
  for (const std::size_t size : {options_.lengths.size(), options_.distinct.size()}) {
    if (size == 0 || size == static_cast<std::size_t>(items_)) continue;
    throw Error(fmt::format("expected a list of {} items, got {}", items_, size), "sampler");
  }
  if (options_.batch_size < 1 || options_.window < 1) {
    throw Error("expected a batch size and a window of at least 1", "sampler");
  }
}

std::int64_t Sampler::item_of(std::size_t source, std::int64_t position) {
  Order& order = orders_[source];
  const std::int64_t epoch = position / order.count;
  if (order.epoch != epoch) {
    order.items.resize(order.count);
    std::iota(order.items.begin(), order.items.end(), order.first);
    Random(derive_seed(options_.seed, kEpochOrder, source, epoch)).shuffle(order.items);
    order.epoch = epoch;
  }
  return order.items[position % order.count];
}

std::int64_t Sampler::item_at(std::int64_t slot) {
  if (pattern_.empty()) return item_of(0, slot);
  const auto size = static_cast<std::int64_t>(pattern_.size());
  const std::int64_t period = slot / size;
  if (period != period_) {
    period_sources_ = pattern_;
    Random(derive_seed(options_.seed, kPeriodOrder, period)).shuffle(period_sources_);
    std::vector<std::int64_t> seen(orders_.size(), 0);
    period_ranks_.clear();
    for (const std::int32_t source : period_sources_) period_ranks_.push_back(seen[source]++);
    period_ = period;
  }
  const std::int32_t source = period_sources_[slot % size];
  return item_of(source, period * pattern_counts_[source] + period_ranks_[slot % size]);
}

void Sampler::compose_window(std::int64_t window) {
  const std::int64_t size = options_.batch_size;
  std::vector<std::int64_t> pending;
  for (std::int64_t i = 0; i < options_.window * size; ++i) {
    pending.push_back(item_at(window * options_.window * size + i));
  }
  if (!options_.lengths.empty()) {
    std::stable_sort(pending.begin(), pending.end(), [&](std::int64_t a, std::int64_t b) {
      return options_.lengths[a] < options_.lengths[b];
    });
  }
  window_batches_.clear();
  while (!pending.empty()) {
    std::vector<std::int64_t> batch, passed;
    std::set<std::int64_t> seen;
    for (const std::int64_t item : pending) {
      const bool full = static_cast<std::int64_t>(batch.size()) == size;
      const bool fresh =
          !full && (options_.distinct.empty() || seen.insert(options_.distinct[item]).second);
      (fresh ? batch : passed).push_back(item);
    }
    while (static_cast<std::int64_t>(batch.size()) < size) {
      batch.push_back(passed.front());
      passed.erase(passed.begin());
    }
    window_batches_.push_back(std::move(batch));
    pending = std::move(passed);
  }
  Random(derive_seed(options_.seed, kWindowOrder, window)).shuffle(window_batches_);
  window_ = window;
}

std::vector<std::int64_t> Sampler::batch(std::int64_t step) {
  if (!options_.lengths.empty() || !options_.distinct.empty()) {
    if (window_ != step / options_.window) compose_window(step / options_.window);
    return window_batches_[step % options_.window];
  }
  std::vector<std::int64_t> items;
  for (std::int64_t i = 0; i < options_.batch_size; ++i) {
    items.push_back(item_at(step * options_.batch_size + i));
  }
  return items;
}

double Sampler::epoch(std::int64_t step) const {
  return static_cast<double>(step) * static_cast<double>(options_.batch_size) /
         static_cast<double>(items_);
}

std::vector<std::vector<std::int64_t>> sequential_batches(std::int64_t count,
                                                          std::int64_t batch_size) {
  std::vector<std::vector<std::int64_t>> batches;
  for (std::int64_t first = 0; first < count; first += batch_size) {
    batches.emplace_back(std::min(batch_size, count - first));
    std::iota(batches.back().begin(), batches.back().end(), first);
  }
  return batches;
}

}  // namespace blip2
