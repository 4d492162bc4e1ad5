#include "blip2/evaluation/resampling.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "blip2/base/error.h"
#include "blip2/base/parallel.h"
#include "blip2/base/random.h"

namespace blip2 {
namespace {

enum Purpose : std::uint64_t { kBootstrap = 1, kRandomisation = 2 };

void add(std::vector<double>& total, std::span<const double> row) {
  for (std::size_t i = 0; i < row.size(); ++i) total[i] += row[i];
}

// The p-th quantile of sorted values, linear between neighbours.
double quantile(const std::vector<double>& sorted, double p) {
  const double place = p * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  const auto above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (place - std::floor(place)) * (sorted[above] - sorted[below]);
}

}  // namespace

std::vector<double> metrics_of(const RecordSums& sums, const MetricsOfSums& metrics) {
  std::vector<double> total(sums.width);
  for (std::size_t i = 0; i < sums.records(); ++i) add(total, sums.row(i));
  return metrics(total);
}

std::vector<Interval> bootstrap_intervals(const RecordSums& sums, const MetricsOfSums& metrics,
                                          const Resampling& resampling) {
  std::vector<std::vector<double>> drawn(resampling.samples);
  parallel_for(resampling.samples, resampling.threads, [&](std::size_t sample) {
    Random random(derive_seed(resampling.seed, sample, kBootstrap));
    std::vector<double> total(sums.width);
    for (std::size_t i = 0; i < sums.records(); ++i) {
      add(total, sums.row(random.below(sums.records())));
    }
    drawn[sample] = metrics(total);
  });
  std::vector<Interval> intervals;
  for (std::size_t m = 0; !drawn.empty() && m < drawn[0].size(); ++m) {
    std::vector<double> values;
    for (const auto& one : drawn) {
      if (!std::isnan(one[m])) values.push_back(one[m]);
    }
    std::sort(values.begin(), values.end());
    constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
    intervals.push_back(values.empty()
                            ? Interval{kNone, kNone}
                            : Interval{quantile(values, 0.025), quantile(values, 0.975)});
  }
  return intervals;
}

std::vector<double> randomisation_test(const RecordSums& ours, const RecordSums& theirs,
                                       const MetricsOfSums& metrics, const Resampling& resampling) {
  if (ours.records() != theirs.records() || ours.width != theirs.width) {
    throw Error(fmt::format("expected two results for the same records, got {} and {}",
                            ours.records(), theirs.records()));
  }
  const std::vector<double> a = metrics_of(ours, metrics), b = metrics_of(theirs, metrics);
  std::vector<std::vector<char>> as_large(resampling.samples);
  parallel_for(resampling.samples, resampling.threads, [&](std::size_t sample) {
    Random random(derive_seed(resampling.seed, sample, kRandomisation));
    std::vector<double> first(ours.width), second(ours.width);
    std::uint64_t coins = 0;
    for (std::size_t i = 0; i < ours.records(); ++i, coins >>= 1) {
      if (i % 64 == 0) coins = random.next();
      const bool swap = (coins & 1) != 0;
      add(swap ? second : first, ours.row(i));
      add(swap ? first : second, theirs.row(i));
    }
    const std::vector<double> x = metrics(first), y = metrics(second);
    constexpr double kRounding = 1e-12;  // sums in another order are the same difference
    for (std::size_t m = 0; m < x.size(); ++m) {
      as_large[sample].push_back(std::abs(x[m] - y[m]) >= std::abs(a[m] - b[m]) - kRounding);
    }
  });
  std::vector<double> p(a.size(), 1);
  for (const auto& one : as_large) {
    for (std::size_t m = 0; m < p.size(); ++m) p[m] += one[m];
  }
  for (double& value : p) value /= 1 + static_cast<double>(resampling.samples);
  return p;
}

}  // namespace blip2
