#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "blip2/evaluation/interval.h"

namespace blip2 {

// The addends of each record to the sums from which a set's metrics follow: rows of `width`
// numbers. A plain value; several threads may call the functions of this header at once.
struct RecordSums {
  std::size_t width = 0;
  std::vector<double> values;

  std::size_t records() const { return width == 0 ? 0 : values.size() / width; }
  std::span<const double> row(std::size_t record) const {
    return std::span(values).subspan(record * width, width);
  }
};

// Computes a set's metrics from its summed rows; their number is always the same.
using MetricsOfSums = std::function<std::vector<double>(std::span<const double>)>;

std::vector<double> metrics_of(const RecordSums& sums, const MetricsOfSums& metrics);

// How intervals and tests draw: the same seed gives the same figures on any machine.
struct Resampling {
  std::size_t samples = 1000;
  std::uint64_t seed = 0;
  std::size_t threads = 1;
};

// 95 % percentile bootstrap interval of each metric (Efron 1979): the records are drawn with
// replacement, and the 2.5th and 97.5th percentiles of what comes out are given. Draws in which a
// metric is NaN do not count for that metric.
std::vector<Interval> bootstrap_intervals(const RecordSums& sums, const MetricsOfSums& metrics,
                                          const Resampling& resampling);

// Paired approximate randomisation (Noreen 1989): two systems' rows of the same records change
// places with probability one half. Gives for each metric the two-sided p-value of its difference:
// (1 + draws whose difference is at least as large) / (1 + draws). Throws Error if the numbers of
// records differ.
std::vector<double> randomisation_test(const RecordSums& ours, const RecordSums& theirs,
                                       const MetricsOfSums& metrics, const Resampling& resampling);

}  // namespace blip2
