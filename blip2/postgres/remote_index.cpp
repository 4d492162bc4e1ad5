#include "blip2/postgres/remote_index.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "blip2/base/error.h"
#include "blip2/base/interrupt.h"
#include "blip2/postgres/remote_rows_internal.h"
#include "blip2/postgres/schema_internal.h"
#include "blip2/search/mean_vector.h"

namespace blip2 {
namespace {

constexpr const char* kReadTimeout = "2min";                  // of a statement
constexpr std::size_t kFirstBodies = 64, kMostBodies = 1024;  // that are asked for at once

// A picture with its score.
struct ScoredPicture {
  Hit hit;
  RemoteKey key;
  ContentHash content;
};

// A picture of the heads in memory, with the number that its score cannot exceed.
struct BoundedPicture {
  float bound = 0;
  std::int64_t basis = 0;
  std::size_t row = 0;
};

// The best pictures so far, each content once; equal scores in the order of source and number.
class BestPictures {
 public:
  explicit BestPictures(std::size_t top) : top_(top) {}

  void add(std::vector<ScoredPicture> scored) {
    std::ranges::move(scored, std::back_inserter(best_));
    std::ranges::sort(best_, [](const ScoredPicture& a, const ScoredPicture& b) {
      return a.hit.score != b.hit.score ? a.hit.score > b.hit.score : a.key < b.key;
    });
    for (std::size_t i = 0; i < best_.size() && i < top_; ++i)
      best_.erase(std::remove_if(best_.begin() + static_cast<std::ptrdiff_t>(i) + 1, best_.end(),
                                 [&, content = best_[i].content](const ScoredPicture& other) {
                                   return other.content == content;
                                 }),
                  best_.end());
    if (best_.size() > top_) best_.resize(top_);
  }

  // A picture that can be among the best has at least this bound.
  float least() const {
    return best_.size() < top_ ? -std::numeric_limits<float>::infinity() : best_.back().hit.score;
  }
  const std::vector<ScoredPicture>& pictures() const { return best_; }

 private:
  std::size_t top_;
  std::vector<ScoredPicture> best_;
};

std::vector<ScoredPicture> score(const Basis& basis, const RemoteCodes& codes,
                                 std::span<const SearchTerm> terms, std::size_t threads) {
  const std::vector<std::uint64_t> all((codes.keys.size() + 63) / 64, ~std::uint64_t{0});
  const CodePart part{&basis, codes.heads, codes.bodies, all};
  std::vector<ScoredPicture> scored;
  for (Hit& hit : best_pictures({&part, 1}, terms, codes.keys.size(), threads, ScanWay::kFull)) {
    const std::size_t row = hit.row;
    scored.push_back({std::move(hit), codes.keys[row], codes.contents[row]});
  }
  return scored;
}

// The sum of the terms' means by weight: its product with a centroid stands for the score.
std::vector<float> mean_of(std::span<const SearchTerm> terms, std::int64_t width) {
  const auto e = static_cast<std::size_t>(width);
  std::vector<float> sum(e);
  for (const SearchTerm& term : terms) {
    const std::vector<float> mean = mean_vector(term.vectors, width);
    for (std::size_t i = 0; i < e; ++i) sum[i] += term.weight * mean[i];
  }
  return mean_vector(sum, width);
}

void check_terms(std::span<const SearchTerm> terms, VectorShape shape) {
  const auto e = static_cast<std::size_t>(shape.width), q = static_cast<std::size_t>(shape.queries);
  for (const SearchTerm& term : terms)
    need(term.vectors.size() == e || term.vectors.size() == q * e,
         "a term has " + std::to_string(term.vectors.size()) + " numbers, expected " +
             std::to_string(e) + " or " + std::to_string(q * e),
         "search");
}

}  // namespace

struct RemoteIndex::State {
  State(const RemotePlace& place)
      : connection(place.url, kReadTimeout),
        identity(use_remote_schema(connection, place.schema)),
        transaction(connection, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"),
        rows(connection, identity.shape) {}

  const CodesByBasis& heads_for(const PictureFilter& filter);
  std::vector<BoundedPicture> bounds(std::span<const SearchTerm> terms, std::size_t threads);
  void search_exactly(std::span<const SearchTerm> terms, const PictureFilter& filter,
                      std::size_t threads, BestPictures& best);
  void score_batch(std::span<const BoundedPicture> batch, std::span<const SearchTerm> terms,
                   std::size_t threads, BestPictures& best);
  void search_candidates(std::span<const SearchTerm> terms, const PictureFilter& filter,
                         std::size_t most, std::size_t threads, BestPictures& best);

  PostgresConnection connection;
  IndexIdentity identity;
  PostgresTransaction transaction;
  RemoteRows rows;
  std::int64_t pictures = 0, files = 0, bad_files = 0;
  float largest_error = 0;
  std::optional<PictureFilter> filter;  // that `heads` have passed
  CodesByBasis heads;
};

const CodesByBasis& RemoteIndex::State::heads_for(const PictureFilter& wanted) {
  if (filter != wanted) {
    heads.clear();
    heads = rows.heads(wanted);
    filter = wanted;
  }
  return heads;
}

std::vector<BoundedPicture> RemoteIndex::State::bounds(std::span<const SearchTerm> terms,
                                                       std::size_t threads) {
  std::vector<BoundedPicture> result;
  for (const auto& [id, codes] : heads) {
    const std::vector<float> bounds = score_bounds(rows.basis(id), codes.heads, terms, threads);
    for (std::size_t row = 0; row < bounds.size(); ++row) result.push_back({bounds[row], id, row});
  }
  return result;
}

// Fetches bodies in the order of their bounds, until no other picture can be among the best.
void RemoteIndex::State::search_exactly(std::span<const SearchTerm> terms,
                                        const PictureFilter& wanted, std::size_t threads,
                                        BestPictures& best) {
  heads_for(wanted);
  std::vector<BoundedPicture> left = bounds(terms, threads);
  std::ranges::make_heap(left, {}, &BoundedPicture::bound);
  for (std::size_t most = kFirstBodies; !left.empty(); most = std::min(2 * most, kMostBodies)) {
    std::vector<BoundedPicture> batch;
    while (batch.size() < most && !left.empty() && left.front().bound >= best.least()) {
      std::ranges::pop_heap(left, {}, &BoundedPicture::bound);
      batch.push_back(left.back());
      left.pop_back();
    }
    if (batch.empty()) return;
    if (interrupted()) throw Interrupted{};
    score_batch(batch, terms, threads, best);
  }
}

void RemoteIndex::State::score_batch(std::span<const BoundedPicture> batch,
                                     std::span<const SearchTerm> terms, std::size_t threads,
                                     BestPictures& best) {
  const auto head_bytes = static_cast<std::ptrdiff_t>(code_sizes(identity.shape).head);
  CodesByBasis chosen;
  for (const BoundedPicture& picture : batch) {
    const RemoteCodes& from = heads.at(picture.basis);
    RemoteCodes& to = chosen[picture.basis];
    to.keys.push_back(from.keys[picture.row]);
    to.contents.push_back(from.contents[picture.row]);
    const auto begin = from.heads.begin() + static_cast<std::ptrdiff_t>(picture.row) * head_bytes;
    to.heads.insert(to.heads.end(), begin, begin + head_bytes);
  }
  for (auto& [id, codes] : chosen) {
    codes.bodies = rows.bodies(codes.keys);
    best.add(score(rows.basis(id), codes, terms, threads));
  }
}

void RemoteIndex::State::search_candidates(std::span<const SearchTerm> terms,
                                           const PictureFilter& wanted, std::size_t most,
                                           std::size_t threads, BestPictures& best) {
  const std::vector<float> vector = mean_of(terms, identity.shape.width);
  for (const auto& [id, codes] : rows.nearest(vector, wanted, most))
    best.add(score(rows.basis(id), codes, terms, threads));
}

RemoteIndex::RemoteIndex(const RemotePlace& place) : state_(std::make_unique<State>(place)) {
  const PostgresResult sums = state_->connection.run(
      "SELECT coalesce(sum(pictures), 0)::bigint, coalesce(sum(files), 0)::bigint, "
      "coalesce(sum(bad_files), 0)::bigint, coalesce(max(largest_error), 0) FROM sources "
      "WHERE generation IS NOT NULL");
  state_->pictures = sums.integer(0, 0);
  state_->files = sums.integer(0, 1);
  state_->bad_files = sums.integer(0, 2);
  state_->largest_error = static_cast<float>(number_of(sums.bytes(0, 3)));
}

RemoteIndex::~RemoteIndex() = default;

const std::string& RemoteIndex::place() const {
  return state_->connection.place();
}
const IndexIdentity& RemoteIndex::identity() const {
  return state_->identity;
}
std::int64_t RemoteIndex::pictures() const {
  return state_->pictures;
}
std::int64_t RemoteIndex::files() const {
  return state_->files;
}
std::int64_t RemoteIndex::bad_files() const {
  return state_->bad_files;
}
float RemoteIndex::largest_error() const {
  return state_->largest_error;
}

std::optional<std::string> RemoteIndex::value(const std::string& key) const {
  const PostgresResult rows = state_->connection.run(
      "SELECT value FROM source_values JOIN sources ON id = source WHERE key = $1 "
      "AND generation IS NOT NULL ORDER BY pictures DESC, id LIMIT 1",
      PostgresValues().text(key));
  if (rows.rows() == 0) return std::nullopt;
  return rows.text(0, 0);
}

std::vector<RemoteHit> RemoteIndex::search(std::span<const SearchTerm> terms, std::size_t top,
                                           const PictureFilter& filter, RemoteWay way,
                                           std::size_t threads) {
  check_terms(terms, state_->identity.shape);
  if (terms.empty() || top == 0) return {};
  BestPictures best(top);
  if (way == RemoteWay::kExact)
    state_->search_exactly(terms, filter, threads, best);
  else
    state_->search_candidates(terms, filter, std::clamp<std::size_t>(20 * top, 200, 1000), threads,
                              best);
  std::vector<RemoteHit> hits;
  std::vector<RemoteKey> keys;
  for (const ScoredPicture& picture : best.pictures()) {
    keys.push_back(picture.key);
    hits.push_back({{}, {}, picture.hit.score, picture.hit.term_scores});
  }
  if (!keys.empty()) state_->rows.describe(keys, hits);
  return hits;
}

}  // namespace blip2
