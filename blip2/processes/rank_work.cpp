#include "blip2/processes/rank_work.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>

#include "blip2/base/error.h"
#include "blip2/base/interrupt.h"
#include "blip2/base/progress.h"
#include "blip2/processes/ranks.h"

namespace blip2 {
namespace {

using nlohmann::json;

// Type and shape of rows; empty if there are none.
std::string describe(const at::Tensor& rows) {
  if (!rows.defined() || rows.numel() == 0) return "";
  json shape = json::array({static_cast<int>(rows.scalar_type())});
  for (const std::int64_t size : rows.sizes()) shape.push_back(size);
  return shape.dump();
}

struct Shape {
  at::ScalarType type = at::kFloat;
  std::vector<std::int64_t> sizes;
};

Shape read_shape(const std::string& text) {
  const auto numbers = json::parse(text).get<std::vector<std::int64_t>>();
  return {static_cast<at::ScalarType>(numbers.front()), {numbers.begin() + 1, numbers.end()}};
}

// Rows of all processes, at rank 0, as their descriptions announce them.
at::Tensor receive_rows(const Ranks& ranks, const at::Tensor& own,
                        const std::vector<std::string>& descriptions) {
  Shape all;
  std::vector<std::int64_t> counts;
  for (const std::string& text : descriptions) {
    const Shape shape = text.empty() ? Shape{} : read_shape(text);
    counts.push_back(shape.sizes.empty() ? 0 : shape.sizes.front());
    if (shape.sizes.empty()) continue;
    const std::int64_t before = all.sizes.empty() ? 0 : all.sizes.front();
    all = shape;
    all.sizes.front() += before;
  }
  if (all.sizes.empty()) return {};
  const at::Tensor rows = at::empty(all.sizes, all.type);
  std::int64_t first = 0;
  for (int rank = 0; rank < ranks.size(); ++rank) {
    const std::int64_t count = counts[static_cast<std::size_t>(rank)];
    const at::Tensor place = rows.narrow(0, first, count);
    if (rank == 0 && count > 0) place.copy_(own);
    if (rank > 0 && count > 0) ranks.receive(place, rank);
    first += count;
  }
  return rows;
}

}  // namespace

IndexRange own_part(const Ranks* ranks, std::size_t count, std::size_t batch_size) {
  const std::size_t rank = ranks ? static_cast<std::size_t>(ranks->rank()) : 0;
  const std::size_t size = ranks ? static_cast<std::size_t>(ranks->size()) : 1;
  const std::size_t batches = (count + batch_size - 1) / batch_size;
  const auto first_of = [&](std::size_t r) {
    return std::min(count, (r * (batches / size) + std::min(r, batches % size)) * batch_size);
  };
  return {first_of(rank), first_of(rank + 1)};
}

bool is_main_process(const Ranks* ranks) {
  return !ranks || ranks->rank() == 0;
}

void for_own_batches(const Ranks* ranks, const std::string& label, std::size_t total,
                     std::size_t batch_size,
                     const std::function<void(std::size_t, std::size_t)>& work) {
  const IndexRange part = own_part(ranks, total, batch_size);
  std::optional<Progress> progress;
  if (is_main_process(ranks)) progress.emplace(label, static_cast<std::int64_t>(part.size()));
  for (std::size_t begin = part.begin; begin < part.end; begin += batch_size) {
    if (interrupted()) throw Interrupted{};
    if (ranks) ranks->check();
    const std::size_t count = std::min(batch_size, part.end - begin);
    work(begin, count);
    if (progress) progress->update(static_cast<std::int64_t>(begin + count - part.begin));
  }
  if (progress) progress->finish();
}

at::Tensor collect_rows(const Ranks* ranks, const std::vector<at::Tensor>& rows) {
  const at::Tensor own = rows.empty() ? at::Tensor() : at::cat(rows).contiguous();
  if (!ranks) return own;
  ranks->wait();
  const auto descriptions = ranks->all_gather_text(describe(own));
  if (ranks->rank() == 0) return receive_rows(*ranks, own, descriptions);
  if (own.defined() && own.numel() > 0) ranks->send(own, 0);
  return {};
}

std::vector<std::string> collect_texts(const Ranks* ranks, std::vector<std::string> texts) {
  if (!ranks) return texts;
  ranks->wait();
  const auto bytes = json::to_cbor(json(texts));
  const auto parts = ranks->all_gather_text({bytes.begin(), bytes.end()});
  if (ranks->rank() > 0) return {};
  std::vector<std::string> all;
  for (const std::string& part : parts) {
    auto some = json::from_cbor(part).get<std::vector<std::string>>();
    std::move(some.begin(), some.end(), std::back_inserter(all));
  }
  return all;
}

void require_same(const Ranks* ranks, std::string_view what, const std::string& value) {
  if (!ranks) return;
  ranks->wait();
  const auto values = ranks->all_gather_text(value);
  for (std::size_t rank = 1; rank < values.size(); ++rank) {
    if (values[rank] == values[0]) continue;
    throw Error(fmt::format("{}: rank {} has {}, rank 0 {}", what, rank, values[rank], values[0]),
                fmt::format("rank {} of {}", ranks->rank(), ranks->size()),
                "give all processes the same data and options");
  }
}

}  // namespace blip2
