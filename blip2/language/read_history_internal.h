#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <span>
#include <vector>

#include "blip2/nn/word_table.h"

namespace blip2 {

// What the rows of a session have read, so that they can be read again. Embeddings are shared, not
// copied, when rows are repeated.
class ReadHistory {
 public:
  void add_rows(std::int64_t count) {
    rows_.resize(rows_.size() + static_cast<std::size_t>(count));
  }
  void add(std::int64_t row, const at::Tensor& embeds);  // [n, D] f32, contiguous
  void add(std::int64_t row, std::int32_t token);
  void forget(std::int64_t row) { at(row).clear(); }
  // As the session's.
  void select(std::span<const std::int32_t> sources);
  void join(ReadHistory& other);

  // Appends all embeddings of the row [n, D] to x; those of tokens are from `words`.
  void append(std::int64_t row, const WordTable& words, std::vector<float>& x) const;

 private:
  struct Part {
    at::Tensor embeds;
    std::vector<std::int32_t> tokens;  // behind them
  };
  using Row = std::vector<Part>;
  Row& at(std::int64_t row) { return rows_[static_cast<std::size_t>(row)]; }

  std::vector<Row> rows_;
};

}  // namespace blip2
