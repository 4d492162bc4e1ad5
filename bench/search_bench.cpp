// search_bench VECTORS PICTURES QUERIES [FOLDER]: the scan of synthetic pictures of 32 x 256
// numbers with the statistics of real ones. VECTORS is what `blip2 embed` writes: image_embeds [n,
// Q, E] and text_embeds [m, E]. Vector q of a synthetic picture is vector q mod Q of a real one
// plus 0.35 times the difference of those of two others, drawn anew for each q; a query is a real
// text plus 0.2 times the difference of two others; all have length 1. Two threads. One JSON line:
// milliseconds of pruned scans (each query once, after a warm-up of 20), of full scans (every
// hundredth query), seconds of fitting and of encoding, bytes, and the number of queries whose ten
// best differ from those of a full scan (made of all queries together). FOLDER gets the vectors
// (vectors.f32), the queries (queries.f32) and the rows of the hits (hits.i32) for
// bench/search_speed.py.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <ctime>
#include <fstream>
#include <functional>
#include <iostream>
#include <mutex>
#include <nlohmann/json.hpp>

#include "blip2/base/error.h"
#include "blip2/base/parallel.h"
#include "blip2/base/random.h"
#include "blip2/io/tensor_file.h"
#include "blip2/search/scan.h"

namespace blip2 {
namespace {

constexpr std::size_t kQueries = 32, kThreads = 2, kTop = 10;

double seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Vectors of real pictures and texts, and synthetic ones made of them.
class Real {
 public:
  explicit Real(const std::string& path) : file_(open_tensor_file(path)) {
    const TensorView& pictures = file_->get("image_embeds");
    const TensorView& texts = file_->get("text_embeds");
    need(pictures.dtype == DType::f32 && texts.dtype == DType::f32 && pictures.shape.size() == 3,
         "expected image_embeds [n, Q, E] and text_embeds [m, E] in f32", path);
    queries_ = static_cast<std::size_t>(pictures.shape[1]);
    width = static_cast<std::size_t>(pictures.shape[2]);
    pictures_ = floats(pictures);
    texts_ = floats(texts);
  }

  std::vector<float> picture(std::uint64_t seed) const {
    Random random(derive_seed(seed, 1));
    const std::size_t one = queries_ * width, count = pictures_.size() / one;
    const float* from = pictures_.data() + random.below(count) * one;
    std::vector<float> out(kQueries * width);
    for (std::size_t q = 0; q < kQueries; ++q) {
      const std::size_t at = q % queries_ * width;
      const float* a = pictures_.data() + random.below(count) * one + at;
      const float* b = pictures_.data() + random.below(count) * one + at;
      mix(from + at, a, b, 0.35f, out.data() + q * width);
    }
    return out;
  }
  std::vector<float> text(std::uint64_t seed) const {
    Random random(derive_seed(seed, 2));
    const auto any = [&] { return texts_.data() + random.below(texts_.size() / width) * width; };
    std::vector<float> out(width);
    const float *from = any(), *a = any(), *b = any();
    mix(from, a, b, 0.2f, out.data());
    return out;
  }

  std::size_t width = 0;

 private:
  static std::span<const float> floats(const TensorView& view) {
    return {reinterpret_cast<const float*>(view.data.data()), view.data.size() / sizeof(float)};
  }
  void mix(const float* from, const float* a, const float* b, float share, float* out) const {
    double squares = 0;
    for (std::size_t i = 0; i < width; ++i) {
      out[i] = from[i] + share * (a[i] - b[i]);
      squares += double{out[i]} * out[i];
    }
    for (std::size_t i = 0; i < width; ++i) out[i] /= static_cast<float>(std::sqrt(squares));
  }

  std::unique_ptr<TensorFile> file_;
  std::size_t queries_ = 0;
  std::span<const float> pictures_, texts_;
};

// The codes of `count` synthetic pictures.
class Index {
 public:
  Index(const Real& real, std::size_t count)
      : basis_(Basis::fit(shape(real), some_of(real, std::min<std::size_t>(count, 2048)))),
        sizes_(code_sizes(basis_.shape())),
        heads_(count * sizes_.head),
        bodies_(count * sizes_.body),
        wanted_((count + 63) / 64, ~std::uint64_t{0}) {}

  static VectorShape shape(const Real& real) {
    return {static_cast<std::int64_t>(kQueries), static_cast<std::int64_t>(real.width)};
  }
  static std::vector<float> some_of(const Real& real, std::size_t count) {
    std::vector<float> some;
    for (std::size_t i = 0; i < count; ++i) {
      const auto one = real.picture(i);
      some.insert(some.end(), one.begin(), one.end());
    }
    return some;
  }
  void put(std::size_t row, std::span<const float> vectors) {
    encode(basis_, vectors, std::span(heads_).subspan(row * sizes_.head, sizes_.head),
           std::span(bodies_).subspan(row * sizes_.body, sizes_.body));
  }
  CodePart part(std::size_t first, std::size_t count) const {
    return {&basis_, std::span(heads_).subspan(first * sizes_.head, count * sizes_.head),
            std::span(bodies_).subspan(first * sizes_.body, count * sizes_.body), wanted_};
  }
  std::size_t bytes() const { return heads_.size() + bodies_.size(); }
  std::size_t pictures() const { return heads_.size() / sizes_.head; }

 private:
  Basis basis_;
  CodeSizes sizes_;
  std::vector<std::byte> heads_, bodies_;
  std::vector<std::uint64_t> wanted_;
};

bool better(const Hit& a, const Hit& b) {
  return a.score != b.score ? a.score > b.score : a.row < b.row;
}

// The best of every query by full scans, all queries over a few pictures at a time.
std::vector<std::vector<Hit>> full_hits(const Index& index, std::span<const SearchTerm> queries) {
  constexpr std::size_t kBlock = 1024;
  std::vector<std::vector<Hit>> best(queries.size());
  std::mutex mutex;
  parallel_for((index.pictures() + kBlock - 1) / kBlock, kThreads, [&](std::size_t block) {
    const std::size_t first = block * kBlock;
    const CodePart part = index.part(first, std::min(kBlock, index.pictures() - first));
    for (std::size_t i = 0; i < queries.size(); ++i) {
      auto hits = best_pictures({&part, 1}, {&queries[i], 1}, kTop, 1, ScanWay::kFull);
      for (Hit& hit : hits) hit.row += first;
      const std::lock_guard lock(mutex);
      best[i].insert(best[i].end(), hits.begin(), hits.end());
      std::sort(best[i].begin(), best[i].end(), better);
      if (best[i].size() > kTop) best[i].resize(kTop);
    }
  });
  return best;
}

bool same(const std::vector<Hit>& a, const std::vector<Hit>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const Hit& x, const Hit& y) {
    return x.row == y.row && x.score == y.score;
  });
}

void fill(Index& index, const Real& real, nlohmann::json& line) {
  constexpr std::size_t kBlock = 512;  // whose vectors are made before their encoding is timed
  double seconds = 0;
  for (std::size_t first = 0; first < index.pictures(); first += kBlock) {
    const std::size_t count = std::min(kBlock, index.pictures() - first);
    std::vector<std::vector<float>> some(count);
    parallel_for(count, kThreads, [&](std::size_t i) { some[i] = real.picture(first + i); });
    seconds += seconds_of([&] {
      parallel_for(count, kThreads, [&](std::size_t i) { index.put(first + i, some[i]); });
    });
  }
  line["encode_seconds"] = seconds;
}

nlohmann::json spread(std::vector<double> seconds) {
  std::sort(seconds.begin(), seconds.end());
  const auto at = [&](double share) {
    return 1000 *
           seconds[static_cast<std::size_t>(share * static_cast<double>(seconds.size() - 1))];
  };
  return {{"least", at(0)}, {"p50", at(0.5)}, {"p99", at(0.99)}, {"most", at(1)}};
}

// Times of single searches; `hits` gets those of the pruned ones.
void search(const Index& index, std::span<const SearchTerm> queries,
            std::vector<std::vector<Hit>>& hits, nlohmann::json& line) {
  const CodePart part = index.part(0, index.pictures());
  std::vector<double> pruned, full;
  const auto one = [&](std::size_t i, ScanWay way) {
    return best_pictures({&part, 1}, {&queries[i], 1}, kTop, kThreads, way);
  };
  for (std::size_t i = 0; i < std::min<std::size_t>(20, queries.size()); ++i) {
    one(i, ScanWay::kPruned);
  }
  const std::clock_t start = std::clock();
  for (std::size_t i = 0; i < queries.size(); ++i) {
    pruned.push_back(seconds_of([&] { hits.push_back(one(i, ScanWay::kPruned)); }));
  }
  const std::clock_t middle = std::clock();
  for (std::size_t i = 0; i < queries.size(); i += 100) {
    full.push_back(seconds_of([&] { one(i, ScanWay::kFull); }));
  }
  const auto cpu = [](std::clock_t ticks, std::size_t count) {
    return 1000.0 * static_cast<double>(ticks) / CLOCKS_PER_SEC / static_cast<double>(count);
  };
  line["pruned_ms"] = spread(pruned);
  line["full_ms"] = spread(full);
  line["pruned_processor_ms"] = cpu(middle - start, pruned.size());
  line["full_processor_ms"] = cpu(std::clock() - middle, full.size());
}

template <typename T>
void append(std::ofstream& file, std::span<const T> values) {
  file.write(reinterpret_cast<const char*>(values.data()),
             static_cast<std::streamsize>(values.size_bytes()));
}

void write(const std::string& folder, const Real& real, std::size_t pictures,
           std::span<const SearchTerm> queries, const std::vector<std::vector<Hit>>& hits) {
  std::ofstream vectors(folder + "/vectors.f32"), texts(folder + "/queries.f32"),
      rows(folder + "/hits.i32");
  for (std::size_t i = 0; i < pictures; ++i) append<float>(vectors, real.picture(i));
  for (const SearchTerm& query : queries) append<float>(texts, query.vectors);
  for (const auto& some : hits) {
    for (const Hit& hit : some) {
      const auto row = static_cast<std::int32_t>(hit.row);
      append<std::int32_t>(rows, {&row, 1});
    }
  }
}

int run(int count, char** arguments) {
  need(count >= 4, "expected VECTORS PICTURES QUERIES [FOLDER]", "search_bench");
  const Real real(arguments[1]);
  const std::size_t pictures = std::stoul(arguments[2]);
  std::vector<SearchTerm> queries;
  for (std::size_t i = 0; i < std::stoul(arguments[3]); ++i) queries.push_back({real.text(i), 1});
  nlohmann::json line{{"pictures", pictures}, {"queries", queries.size()}};
  const auto sample = Index::some_of(real, std::min<std::size_t>(pictures, 2048));
  line["fit_seconds"] = seconds_of([&] { Basis::fit(Index::shape(real), sample); });
  Index index(real, pictures);
  fill(index, real, line);
  line["bytes"] = index.bytes();
  line["bytes_of_codes"] = pictures * kQueries * real.width;
  std::vector<std::vector<Hit>> hits;
  search(index, queries, hits, line);
  const auto full = full_hits(index, queries);
  std::size_t differ = 0;
  for (std::size_t i = 0; i < hits.size(); ++i) differ += same(hits[i], full[i]) ? 0 : 1;
  line["different_from_full"] = differ;
  if (count > 4) write(arguments[4], real, pictures, queries, hits);
  std::cout << line.dump() << std::endl;
  return differ == 0 ? 0 : 1;
}

}  // namespace
}  // namespace blip2

int main(int count, char** arguments) {
  try {
    return blip2::run(count, arguments);
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
}
