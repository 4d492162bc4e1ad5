#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "blip2/language/kv_cache_internal.h"
#include "blip2/language/language_model.h"
#include "blip2/language/t5.h"

namespace blip2 {

// Answers that a frozen T5's decoder generates, without autograd. The decoder's keys and values are
// cached; the keys and values of the encoder's states are computed once. A row's logits are the
// same whatever other rows run beside it. For one thread at a time.
class T5Session : public LanguageSession {
 public:
  // `capacity`: number of tokens a row for which room is made at first.
  explicit T5Session(std::shared_ptr<const T5> model, std::int64_t capacity = 64);

  std::int64_t rows() const override { return cache_.rows(); }
  std::int64_t vocabulary() const override { return model_->config().vocab_size; }
  // Tokens that the decoder has read, the start token included.
  std::int64_t length(std::int64_t row) const override { return cache_.length(row); }

  // Makes the rows: row i answers embeds[offsets[i] .. offsets[i + 1]) of the encoder's input
  // embeddings [N, D], at least one embedding each. Call it once. Returns the logits after the
  // decoder_start token, [rows, V] f32, valid until the next call.
  std::span<const float> prompt(const at::Tensor& embeds,
                                std::span<const std::int64_t> offsets) override;

  // Makes the rows likewise from the encoder's states, T5::encode of the embeddings.
  std::span<const float> start(const at::Tensor& states, std::span<const std::int64_t> offsets);

  // Continues every row by one token id. Returns logits as prompt does.
  std::span<const float> advance(std::span<const std::int32_t> tokens) override;

  // Row i becomes a continuation of the present row sources[i]; rows may be repeated or dropped.
  void select(std::span<const std::int32_t> sources) override;
  void join(LanguageSession& other) override;

 private:
  // Keys and values of the encoder's states by layer, [N, H K] f32, for the rows that were prompted
  // together.
  struct Memory {
    std::vector<at::Tensor> keys, values;
  };
  struct Source {
    std::shared_ptr<const Memory> memory;
    std::int64_t begin, count;  // a row's states in it
  };
  struct Keys;

  void attend_self(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                   std::int64_t layer, at::Tensor& out);
  void attend_cross(const at::Tensor& q, std::size_t layer, at::Tensor& out);
  template <typename Body>
  void over_heads(const Body& body);
  const float* distance_bias(std::int64_t head, std::int64_t length);

  std::shared_ptr<const T5> model_;
  KvCache cache_;
  std::vector<Source> sources_;  // by row
  at::Tensor bias_;              // [H, distances] f32
  at::Tensor logits_;            // [rows, V] f32
};

}  // namespace blip2
