#include "blip2/search/part_merge_internal.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "blip2/base/error.h"
#include "blip2/base/hash.h"
#include "blip2/base/parallel.h"

namespace blip2 {
namespace {

constexpr std::size_t kManyParts = 8;
// A part is merged with the later ones if it has at most this many times their rows.
constexpr std::size_t kGrowth = 2;
constexpr std::int64_t kFewPictures = 20000;
constexpr std::int64_t kOutgrown = 8;
constexpr std::size_t kRowsAtOnce = 1024;

using OpenParts = std::vector<std::shared_ptr<const VectorFile>>;

bool has_many_dead(const PartSize& part) {
  return (part.rows - part.alive) * 4 > part.rows;
}

// Where the last parts begin that become one, if there are many; the last part alone is none.
std::size_t first_to_merge(std::span<const PartSize> parts) {
  if (parts.size() <= kManyParts) return parts.size();
  std::size_t begin = parts.size() - 1, gathered = parts[begin].alive;
  while (begin > 0 && parts[begin - 1].alive <= kGrowth * gathered) {
    gathered += parts[--begin].alive;
  }
  return begin == parts.size() - 1 ? parts.size() : begin;
}

struct AliveRow {
  std::size_t part = 0, row = 0;
};

std::vector<AliveRow> alive_rows_of(const Generation& generation, PartRange range) {
  std::vector<AliveRow> rows;
  for (std::size_t p = range.begin; p < range.end; ++p) {
    for (std::size_t row = 0; row < generation.parts[p].rows; ++row) {
      if (generation.parts[p].is_alive(row)) rows.push_back({p - range.begin, row});
    }
  }
  return rows;
}

OpenParts open_parts(const std::filesystem::path& folder, const Generation& generation,
                     PartRange range) {
  OpenParts files;
  for (std::size_t p = range.begin; p < range.end; ++p) {
    files.push_back(open_part(folder, generation, generation.parts[p]));
  }
  return files;
}

std::vector<std::int64_t> numbers_of(const OpenParts& files, std::span<const AliveRow> rows) {
  std::vector<std::int64_t> numbers;
  numbers.reserve(rows.size());
  for (const AliveRow& at : rows) numbers.push_back(files[at.part]->numbers()[at.row]);
  return numbers;
}

// Calls add(bytes) with the rows of a section that are alive, in order; the sum over all rows must
// be the one that the index has.
template <typename Add>
void copy_section(const VectorFile& file, const IndexPart& part, std::span<const std::byte> section,
                  std::uint64_t expected_sum, const Add& add) {
  const std::size_t bytes = section.size() / part.rows;
  std::uint64_t sum = 0;
  for (std::size_t row = 0; row < part.rows; ++row) {
    const auto piece = section.subspan(row * bytes, bytes);
    sum = hash_bytes(piece, sum);
    if (part.is_alive(row)) add(piece);
    if (row % kRowsAtOnce == 0) file.release(section.first(row * bytes));
  }
  file.release(section);
  if (sum != expected_sum) {
    throw Error("the vectors are damaged: their checksum is wrong", file.path().string(),
                "--rebuild makes the index again");
  }
}

IndexPart whole_part(std::int64_t number, std::size_t rows, const VectorSums& sums, float error) {
  return {number, rows, sums, error, all_alive(rows)};
}

std::size_t floats_of(VectorShape shape) {
  return static_cast<std::size_t>(shape.queries * shape.width);
}

// Vectors [n, Q, E] that the rows say, at most as many as the budget allows, evenly spaced.
std::vector<float> decoded_sample(const OpenParts& files, const Basis& basis,
                                  std::span<const AliveRow> rows) {
  const std::size_t floats = floats_of(basis.shape());
  const std::size_t most = std::max<std::size_t>(kVectorBudget / (floats * sizeof(float)), 1);
  const std::size_t count = std::min(rows.size(), most);
  std::vector<float> sample(count * floats);
  parallel_for(count, std::thread::hardware_concurrency(), [&](std::size_t i) {
    const AliveRow& at = rows[i * rows.size() / count];
    std::ranges::copy(decode(basis, files[at.part]->body(at.row)), sample.begin() + i * floats);
  });
  return sample;
}

// The rows' bodies and heads by the new basis.
EncodedPictures encode_rows(const OpenParts& files, const Basis& from, const Basis& to,
                            std::span<const AliveRow> rows) {
  const std::size_t floats = floats_of(from.shape());
  std::vector<float> vectors(rows.size() * floats);
  parallel_for(rows.size(), std::thread::hardware_concurrency(), [&](std::size_t i) {
    std::ranges::copy(decode(from, files[rows[i].part]->body(rows[i].row)),
                      vectors.begin() + i * floats);
  });
  return encode_pictures(to, vectors);
}

}  // namespace

std::vector<PartRange> plan_merges(std::span<const PartSize> parts) {
  const std::size_t tail = first_to_merge(parts);
  std::vector<PartRange> ranges;
  for (std::size_t p = 0; p < tail; ++p) {
    if (has_many_dead(parts[p])) ranges.push_back({p, p + 1});
  }
  if (tail < parts.size()) ranges.push_back({tail, parts.size()});
  return ranges;
}

bool should_fit_again(const Generation& generation, std::span<const PartRange> merges) {
  std::size_t all = 0, merged = 0;
  for (const IndexPart& part : generation.parts) all += part.alive_rows();
  for (const PartRange& range : merges) {
    for (std::size_t p = range.begin; p < range.end; ++p) {
      merged += generation.parts[p].alive_rows();
    }
  }
  return generation.basis && generation.fitted_on < kFewPictures &&
         generation.pictures > kOutgrown * generation.fitted_on && 2 * merged >= all;
}

IndexPart merge_parts(const std::filesystem::path& folder, const Generation& generation,
                      PartRange range, std::int64_t number) {
  const OpenParts files = open_parts(folder, generation, range);
  const std::vector<AliveRow> rows = alive_rows_of(generation, range);
  VectorFileWriter writer(folder / vector_file_name(number), generation.identity.shape,
                          numbers_of(files, rows));
  float error = 0;
  for (std::size_t i = 0; i < files.size(); ++i) {
    const IndexPart& part = generation.parts[range.begin + i];
    error = std::max(error, part.largest_error);
    copy_section(*files[i], part, files[i]->bodies(), part.sums.bodies,
                 [&](auto body) { writer.add_bodies(body); });
  }
  for (std::size_t i = 0; i < files.size(); ++i) {
    const IndexPart& part = generation.parts[range.begin + i];
    copy_section(*files[i], part, files[i]->heads(), part.sums.heads,
                 [&](auto head) { writer.add_heads(head); });
  }
  return whole_part(number, rows.size(), writer.commit(), error);
}

void encode_again(const std::filesystem::path& folder, Generation& generation,
                  std::int64_t number) {
  const PartRange all{0, generation.parts.size()};
  const OpenParts files = open_parts(folder, generation, all);
  const std::vector<AliveRow> rows = alive_rows_of(generation, all);
  const VectorShape shape = generation.identity.shape;
  const auto basis = std::make_shared<const Basis>(
      Basis::fit(shape, decoded_sample(files, *generation.basis, rows)));
  VectorFileWriter writer(folder / vector_file_name(number), shape, numbers_of(files, rows));
  std::vector<std::byte> heads;
  float old_error = 0, new_error = 0;
  for (const IndexPart& part : generation.parts)
    old_error = std::max(old_error, part.largest_error);
  for (std::size_t at = 0; at < rows.size(); at += kRowsAtOnce) {
    const auto some = std::span(rows).subspan(at, std::min(kRowsAtOnce, rows.size() - at));
    const EncodedPictures encoded = encode_rows(files, *generation.basis, *basis, some);
    writer.add_bodies(encoded.bodies);
    heads.insert(heads.end(), encoded.heads.begin(), encoded.heads.end());
    new_error = std::max(new_error, encoded.largest_error);
  }
  writer.add_heads(heads);
  generation.parts = {whole_part(number, rows.size(), writer.commit(), old_error + new_error)};
  generation.basis = basis;
  generation.fitted_on = static_cast<std::int64_t>(rows.size());
}

EncodedPictures encode_pictures(const Basis& basis, std::span<const float> vectors) {
  const CodeSizes sizes = code_sizes(basis.shape());
  const std::size_t floats = floats_of(basis.shape()), count = vectors.size() / floats;
  EncodedPictures encoded{std::vector<std::byte>(count * sizes.head),
                          std::vector<std::byte>(count * sizes.body)};
  std::vector<float> errors(count);
  parallel_for(count, std::thread::hardware_concurrency(), [&](std::size_t i) {
    errors[i] = encode(basis, vectors.subspan(i * floats, floats),
                       std::span(encoded.heads).subspan(i * sizes.head, sizes.head),
                       std::span(encoded.bodies).subspan(i * sizes.body, sizes.body));
  });
  for (const float error : errors) encoded.largest_error = std::max(encoded.largest_error, error);
  return encoded;
}

}  // namespace blip2
