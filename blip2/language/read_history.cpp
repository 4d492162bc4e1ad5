#include <utility>

#include "blip2/language/read_history_internal.h"

namespace blip2 {

void ReadHistory::add(std::int64_t row, const at::Tensor& embeds) {
  at(row).push_back({embeds, {}});
}

void ReadHistory::add(std::int64_t row, std::int32_t token) {
  at(row).back().tokens.push_back(token);
}

void ReadHistory::select(std::span<const std::int32_t> sources) {
  std::vector<Row> next;
  for (const std::int32_t source : sources) next.push_back(at(source));
  rows_ = std::move(next);
}

void ReadHistory::join(ReadHistory& other) {
  for (Row& row : other.rows_) rows_.push_back(std::move(row));
  other.rows_.clear();
}

void ReadHistory::append(std::int64_t row, const WordTable& words, std::vector<float>& x) const {
  for (const Part& part : rows_[static_cast<std::size_t>(row)]) {
    const float* data = part.embeds.const_data_ptr<float>();
    x.insert(x.end(), data, data + part.embeds.numel());
    const auto width = static_cast<std::size_t>(part.embeds.size(1));
    for (const std::int32_t token : part.tokens) {
      x.resize(x.size() + width);
      words.read(token, x.data() + x.size() - width);
    }
  }
}

}  // namespace blip2
