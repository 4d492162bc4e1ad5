#pragma once

#include <torch/torch.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace blip2 {

class Ranks;

// Work on a list, its items taken a batch at a time, that processes share: each has whole batches,
// the very ones that a process alone has, so that results do not depend on the number of processes.
// Without ranks (nullptr) there is one process. What is collected is at rank 0, in the list's
// order.

// Indices [begin, end) of a list.
struct IndexRange {
  std::size_t begin = 0, end = 0;
  std::size_t size() const { return end - begin; }
};

// This process's part of `count` items in batches of `at_once`: one after the other in the order of
// the ranks, the first of them a batch more if batches do not come out even. May be empty.
IndexRange own_part(const Ranks* ranks, std::size_t count, std::size_t at_once);

// Whether this is the process that prints and writes.
bool speaks(const Ranks* ranks);

// Calls work(begin, count) for the batches of this process's part, with progress at rank 0. Throws
// Interrupted after a signal, and Error if another process is gone.
void for_own_batches(const Ranks* ranks, const std::string& label, std::size_t total,
                     std::size_t at_once,
                     const std::function<void(std::size_t, std::size_t)>& work);

// All processes' rows [b, ...], any b in each: [sum of b, ...] at rank 0, undefined elsewhere and
// if there are none. Waits for the others however long they work.
at::Tensor collect_rows(const Ranks* ranks, const std::vector<at::Tensor>& rows);
// All processes' texts at rank 0, nothing elsewhere. The same wait.
std::vector<std::string> collect_texts(const Ranks* ranks, std::vector<std::string> texts);

// Error if another process has another value: of what must be the same everywhere.
void require_same(const Ranks* ranks, std::string_view what, const std::string& value);

}  // namespace blip2
