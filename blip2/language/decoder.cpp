#include "blip2/language/decoder.h"

#include "blip2/language/decoder_session_internal.h"
#include "blip2/language/decoder_stack_internal.h"

namespace blip2 {
namespace {

// The learned positions of packed sequences, [N, D] f32.
at::Tensor positions_of(const DecoderWeights& weights, const std::vector<std::int64_t>& offsets) {
  std::vector<std::int64_t> rows;
  for (std::size_t i = 1; i < offsets.size(); ++i) {
    const std::int64_t length = offsets[i] - offsets[i - 1];
    require_length(weights.config, length);
    for (std::int64_t t = 0; t < length; ++t) rows.push_back(weights.config.position_offset + t);
  }
  return weights.positions.index_select(0, at::tensor(rows, at::kLong)).to(at::kFloat);
}

void check_wanted(const std::vector<std::int64_t>& wanted, std::int64_t rows) {
  std::int64_t before = -1;
  for (const std::int64_t row : wanted) {
    TORCH_CHECK(row > before && row < rows, "the wanted rows must ascend and be below ", rows);
    before = row;
  }
}

}  // namespace

Decoder::Decoder(std::shared_ptr<DecoderWeights> weights)
    : weights_(std::move(weights)), stack_(std::make_shared<DecoderStack>(weights_)) {}

at::Tensor Decoder::embed(const at::Tensor& ids) const {
  std::vector<std::int64_t> shape = ids.sizes().vec();
  shape.push_back(width());
  return weights_->embeddings.select(ids.reshape({-1})).view(shape);
}

at::Tensor Decoder::forward_packed(const at::Tensor& embeds, std::vector<std::int64_t> offsets,
                                   std::vector<std::int64_t> wanted) {
  TORCH_CHECK(embeds.dim() == 2 && embeds.size(1) == width(), "embeds: expected [N, ", width(),
              "], got ", embeds.sizes());
  TORCH_CHECK(!offsets.empty() && offsets.front() == 0 && offsets.back() == embeds.size(0),
              "offsets must run from 0 to the number of rows");
  check_wanted(wanted, offsets.back());
  at::Tensor x = embeds.to(at::kFloat).contiguous();  // [N, D]
  if (weights_->positions.defined()) x = x + positions_of(*weights_, offsets);
  return run_stack(stack_, x, {std::move(offsets), std::move(wanted)});
}

at::Tensor Decoder::read(const at::Tensor& embeds, std::span<const std::int64_t> offsets) const {
  return DecoderSession(weights_, /*capacity=*/1).read(embeds, offsets);
}

std::unique_ptr<LanguageSession> Decoder::make_session(std::int64_t capacity) const {
  return std::make_unique<DecoderSession>(weights_, capacity);
}

std::int64_t Decoder::step_bytes() const {
  std::int64_t bytes = weights_->head.bytes();
  for (const DecoderLayer& layer : weights_->layers) {
    for (const Linear* linear : {&layer.qkv, &layer.o, &layer.gate_up, &layer.down}) {
      bytes += linear->bytes();
    }
  }
  return bytes;
}

std::vector<std::pair<std::string, at::Tensor>> Decoder::tensors() const {
  TORCH_CHECK(weights_->form == MatrixForm::stored || weights_->form == MatrixForm::joined,
              "the weights are not held as tensors");
  return tensors_to_save(*weights_);
}

}  // namespace blip2
