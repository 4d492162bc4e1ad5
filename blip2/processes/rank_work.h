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

// Functions with which processes share the work on a list, in batches. Each process has whole
// batches, the same ones as a process alone, so that results do not depend on the number of
// processes. Without ranks (nullptr) there is one process. Collected results are at rank 0, in the
// list's order.

// Indices [begin, end) of a list.
struct IndexRange {
  std::size_t begin = 0, end = 0;
  std::size_t size() const { return end - begin; }
};

// This process's part of `count` items in batches of `batch_size`. Parts follow each other in the
// order of the ranks; the first ranks have a batch more if the batches do not divide evenly. May be
// empty.
IndexRange own_part(const Ranks* ranks, std::size_t count, std::size_t batch_size);

// Whether this is the main process (rank 0), which prints and writes.
bool is_main_process(const Ranks* ranks);

// Calls work(begin, count) for each batch of this process's part and shows progress at rank 0.
// Throws Interrupted after a signal, and Error if another process is gone.
void for_own_batches(const Ranks* ranks, const std::string& label, std::size_t total,
                     std::size_t batch_size,
                     const std::function<void(std::size_t, std::size_t)>& work);

// Collects the rows [b, ...] of all processes, where b may differ: [sum of b, ...] at rank 0,
// undefined at other ranks and if there are no rows. Waits for the other processes however long
// they work.
at::Tensor collect_rows(const Ranks* ranks, const std::vector<at::Tensor>& rows);
// Collects the texts of all processes at rank 0; empty at other ranks. Waits likewise.
std::vector<std::string> collect_texts(const Ranks* ranks, std::vector<std::string> texts);

// Error if the value of `what`, which must be the same everywhere, differs in another process.
void require_same(const Ranks* ranks, std::string_view what, const std::string& value);

}  // namespace blip2
