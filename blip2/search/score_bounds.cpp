#include <algorithm>
#include <cmath>
#include <cstddef>

#include "blip2/base/error.h"
#include "blip2/base/parallel.h"
#include "blip2/search/scan.h"
#include "blip2/search/scan_query_internal.h"

namespace blip2 {
namespace {

constexpr std::size_t kHeadsAtOnce = 4096;  // that a thread takes

// Not less than the score, whose sum over terms rounds, too.
float bound_of(std::span<const ScanQuery> queries, const std::byte* head) {
  float sum = 0, size = 0;
  for (const ScanQuery& query : queries) {
    const float bound = query.bound(head);
    sum += bound;
    size += std::abs(bound);
  }
  return sum + size * 1e-6f;
}

}  // namespace

std::vector<float> score_bounds(const Basis& basis, std::span<const std::byte> heads,
                                std::span<const SearchTerm> terms, std::size_t threads) {
  const std::size_t bytes = code_sizes(basis.shape()).head, count = heads.size() / bytes;
  need(heads.size() == count * bytes, "the heads are not of whole pictures", "search");
  std::vector<ScanQuery> queries;
  for (const SearchTerm& term : terms) queries.emplace_back(term, basis);
  std::vector<float> bounds(count);
  parallel_for((count + kHeadsAtOnce - 1) / kHeadsAtOnce, threads, [&](std::size_t chunk) {
    const std::size_t end = std::min((chunk + 1) * kHeadsAtOnce, count);
    for (std::size_t i = chunk * kHeadsAtOnce; i < end; ++i) {
      bounds[i] = bound_of(queries, heads.data() + i * bytes);
    }
  });
  return bounds;
}

}  // namespace blip2
