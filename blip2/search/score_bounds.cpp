#include <algorithm>
#include <cstddef>

#include "blip2/base/error.h"
#include "blip2/base/parallel.h"
#include "blip2/search/part_scan_internal.h"
#include "blip2/search/scan.h"

namespace blip2 {
namespace {

constexpr std::size_t kHeadsAtOnce = 64;

}  // namespace

std::vector<float> score_bounds(const Basis& basis, std::span<const std::byte> heads,
                                std::span<const SearchTerm> terms, std::size_t threads) {
  const std::size_t bytes = code_sizes(basis.shape()).head, count = heads.size() / bytes;
  need(heads.size() == count * bytes, "the heads are not of whole pictures", "search");
  std::vector<ScanQuery> queries;
  for (const SearchTerm& term : terms) queries.emplace_back(term, basis);
  std::vector<float> bounds(count);
  parallel_for((count + kHeadsAtOnce - 1) / kHeadsAtOnce, threads, [&](std::size_t chunk) {
    const std::size_t first = chunk * kHeadsAtOnce;
    bounds_of_heads(queries, heads.data() + first * bytes, std::min(kHeadsAtOnce, count - first),
                    bounds.data() + first);
  });
  return bounds;
}

}  // namespace blip2
