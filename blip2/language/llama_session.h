#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "blip2/language/kv_cache.h"
#include "blip2/language/llama.h"
#include "blip2/language/rope_table.h"

namespace blip2 {

// Sequences being continued by a frozen Llama, with their keys and values cached. No autograd and
// no tensor operation within a token; the products are nn/kernels' own, in which every row is
// computed by itself in one fixed order: a row's logits are bit for bit the same whatever other
// rows run beside it.
class LlamaSession {
 public:
  // `capacity`: tokens a row to make room for (prompt and continuation); more is allowed.
  explicit LlamaSession(std::shared_ptr<const Llama> model, std::int64_t capacity = 64);

  std::int64_t rows() const { return cache_.rows(); }
  std::int64_t vocabulary() const { return weights_->config.vocab_size; }
  std::int64_t length(std::int64_t row) const { return cache_.length(row); }

  // Continues every row by its own embeddings: row i by embeds[offsets[i] .. offsets[i + 1]) of
  // embeds [N, D]; at least one each. The first call makes the rows. Returns the logits after each
  // row's last token, [rows, V] f32, valid until the next call.
  std::span<const float> prompt(const at::Tensor& embeds, std::span<const std::int64_t> offsets);

  // Continues every row by one token id. Returns logits as prompt does.
  std::span<const float> advance(std::span<const std::int32_t> tokens);

  // Row i becomes a continuation of the present row sources[i]; rows may be repeated or dropped.
  void select(std::span<const std::int32_t> sources) { cache_.select(sources); }

 private:
  template <typename T>
  std::span<const float> run(std::span<const std::int64_t> offsets);
  std::span<const float> run(std::span<const std::int64_t> offsets);

  std::shared_ptr<const LlamaWeights> weights_;
  RopeTable rope_;
  KvCache cache_;
  std::vector<float> x_, logits_;      // [N, D], [rows, V]
  std::vector<std::uint8_t> scratch_;  // activations of one layer
};

}  // namespace blip2
