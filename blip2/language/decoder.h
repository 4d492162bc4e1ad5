#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "blip2/language/decoder_weights.h"
#include "blip2/language/language_model.h"

namespace blip2 {

class DecoderStack;

// Number of rows whose logits Decoder::token_loss holds at a time.
inline constexpr std::int64_t kLossRows = 128;

// A decoder-only language model of any family that DecoderConfig knows.
class Decoder : public LanguageModel {
 public:
  explicit Decoder(std::shared_ptr<DecoderWeights> weights);

  const DecoderConfig& config() const { return weights_->config; }

  std::int64_t width() const override { return config().hidden_size; }
  std::int64_t vocabulary() const override { return config().vocab_size; }
  at::ScalarType dtype() const override { return weights_->dtype; }
  std::int32_t bos_token_id() const override { return config().bos_token_id; }
  std::int32_t pad_token_id() const override { return config().pad_token_id; }
  const std::vector<std::int32_t>& eos_token_ids() const override { return config().eos_token_id; }

  at::Tensor embed(const at::Tensor& ids) const override;
  at::Tensor forward_packed(const at::Tensor& embeds, std::vector<std::int64_t> offsets,
                            std::vector<std::int64_t> wanted = {}) override;
  at::Tensor read(const at::Tensor& embeds, std::span<const std::int64_t> offsets) const override;
  at::Tensor logits(const at::Tensor& hidden) const override;
  at::Tensor token_loss(const at::Tensor& hidden, const at::Tensor& targets) const override;
  std::unique_ptr<LanguageSession> make_session(std::int64_t capacity = 64) const override;
  std::int64_t step_bytes() const override;
  std::vector<std::pair<std::string, at::Tensor>> tensors() const override;

 private:
  std::shared_ptr<DecoderWeights> weights_;
  std::shared_ptr<DecoderStack> stack_;
};

}  // namespace blip2
