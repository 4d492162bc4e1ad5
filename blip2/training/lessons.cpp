#include "blip2/training/lessons.h"

#include <optional>

#include "blip2/base/error.h"
#include "blip2/base/random.h"
#include "blip2/model/soft_prompts.h"
#include "blip2/objectives/cmlm.h"

namespace blip2 {

at::Tensor see(const Bridge& bridge, const PromptBatch& batch, const at::Tensor& features,
               const ComputeOptions& compute) {
  const QFormerPass pass = bridge.qformer->pass(compute);
  std::optional<TextRows> instructions;
  if (batch.instructions.ids.defined()) {
    const at::Tensor& lengths = batch.instructions.lengths;
    instructions = pack_text(batch.instructions.ids, {lengths.const_data_ptr<std::int64_t>(),
                                                      static_cast<std::size_t>(lengths.numel())});
  }
  return soft_prompts(bridge, pass, pass.project_image(features, bridge.feature_norm()),
                      instructions);
}

std::int64_t answer_mask(const Tokenizer& language) {
  const SpecialTokens special = language.special();
  for (const auto& id :
       {special.mask, language.id("<extra_id_0>"), special.unk, special.pad, special.eos}) {
    if (id) return *id;
  }
  throw Error("expected a mask, unknown, padding or end token for CMLM",
              "the language model's tokenizer");
}

std::vector<SpokenRow> spoken_rows(const PromptBatch& batch) {
  const auto ids = batch.ids.accessor<std::int64_t, 2>();
  const auto* prompt = batch.prompt_lengths.const_data_ptr<std::int64_t>();
  const auto* length = batch.lengths.const_data_ptr<std::int64_t>();
  std::vector<SpokenRow> rows;
  for (std::int64_t i = 0; i < ids.size(0); ++i) {
    const std::int64_t* begin = ids[i].data();
    const std::vector<std::int64_t> answer(begin + prompt[i], begin + length[i]);
    rows.push_back({{begin, begin + prompt[i]}, answer, answer});
  }
  return rows;
}

std::vector<SpokenRow> masked_rows(const PromptBatch& batch, std::int64_t mask_token,
                                   std::uint64_t seed, std::int64_t first_row) {
  auto rows = spoken_rows(batch);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    rows[i] = mask_answer(std::move(rows[i]), mask_token,
                          derive_seed(seed, first_row + static_cast<std::int64_t>(i)));
  }
  return rows;
}

}  // namespace blip2
