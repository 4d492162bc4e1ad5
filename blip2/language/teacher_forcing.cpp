#include "blip2/language/teacher_forcing.h"

#include "blip2/language/language_input.h"

namespace blip2 {
namespace {

using Ids = std::vector<std::int64_t>;

at::Tensor as_tensor(const Ids& ids) {
  return torch::tensor(ids, at::kLong);
}

// Places of the predictions and what they shall be.
struct Targets {
  Ids places, ids;

  // A row's targets, the first of which is predicted at `first`.
  void add(const ForcedRow& row, std::int64_t first) {
    for (std::size_t t = 0; t < row.targets.size(); ++t) {
      if (row.targets[t] == kIgnoredLabel) continue;
      places.push_back(first + static_cast<std::int64_t>(t));
      ids.push_back(row.targets[t]);
    }
  }
};

void check_rows(const at::Tensor& soft, std::span<const ForcedRow> rows) {
  TORCH_CHECK(soft.dim() == 3 && soft.size(0) == std::ssize(rows), "expected soft prompts [",
              rows.size(), ", Q, width], got ", soft.sizes());
  for (const ForcedRow& row : rows) {
    TORCH_CHECK(!row.read.empty() && row.read.size() == row.targets.size(),
                "expected an answer as read and its targets, got ", row.read.size(), " and ",
                row.targets.size(), " tokens");
  }
}

}  // namespace

at::Tensor forced_losses(LanguageModel& language, const at::Tensor& soft,
                         std::span<const ForcedRow> rows) {
  check_rows(soft, rows);
  std::vector<Ids> text;
  for (const ForcedRow& row : rows) {
    text.push_back(row.prompt);
    text.back().insert(text.back().end(), row.read.begin(), row.read.end() - 1);
  }
  const auto embed = [&](const at::Tensor& ids) { return language.embed(ids); };
  const LanguageInput input = join_input(embed, soft, text);
  Targets targets;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    targets.add(rows[i], input.offsets[i] + soft.size(1) + std::ssize(rows[i].prompt) - 1);
  }
  const at::Tensor hidden =
      language.forward_packed(input.embeds, input.offsets, targets.places);  // [M, width]
  return language.token_loss(hidden, as_tensor(targets.ids));
}

at::Tensor forced_losses(const T5& language, const at::Tensor& soft,
                         std::span<const ForcedRow> rows) {
  check_rows(soft, rows);
  const T5Config& config = language.config();
  std::vector<Ids> text;
  Ids inputs, offsets{0};
  Targets targets;
  for (const ForcedRow& row : rows) {
    text.push_back(row.prompt);
    text.back().push_back(config.eos_token_id.front());
    targets.add(row, offsets.back());
    inputs.push_back(config.decoder_start_token_id);
    inputs.insert(inputs.end(), row.read.begin(), row.read.end() - 1);
    offsets.push_back(std::ssize(inputs));
  }
  const auto embed = [&](const at::Tensor& ids) { return language.embed(ids); };
  const LanguageInput input = join_input(embed, soft, text);
  const at::Tensor states = language.encode(input.embeds, input.offsets);  // [N, width]
  const at::Tensor logits =
      language.decode(states, input.offsets, as_tensor(inputs), offsets);  // [M, V]
  return at::cross_entropy_loss(logits.index_select(0, as_tensor(targets.places)),
                                as_tensor(targets.ids), {}, at::Reduction::None);
}

}  // namespace blip2
