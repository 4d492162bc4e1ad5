#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "blip2/language/decoder_weights.h"
#include "blip2/language/kv_cache_internal.h"
#include "blip2/language/language_model.h"
#include "blip2/language/read_history_internal.h"
#include "blip2/language/rope_table_internal.h"

namespace blip2 {

// The generation session of a decoder, with the rows' keys and values cached. It calls no tensor
// operation for a token: products go through nn/kernels, which compute every row by itself in one
// fixed order. For one thread at a time.
class DecoderSession : public LanguageSession {
 public:
  explicit DecoderSession(std::shared_ptr<const DecoderWeights> weights,
                          std::int64_t capacity = 64);

  std::int64_t rows() const override { return cache_.rows(); }
  std::int64_t vocabulary() const override { return weights_->config.vocab_size; }
  std::int64_t length(std::int64_t row) const override { return cache_.length(row); }
  std::span<const float> prompt(const at::Tensor& embeds,
                                std::span<const std::int64_t> offsets) override;
  // Continues the rows as prompt does. Returns the hidden states of all their new tokens after the
  // final norm, [N, D] f32.
  at::Tensor read(const at::Tensor& embeds, std::span<const std::int64_t> offsets);
  std::span<const float> advance(std::span<const std::int32_t> tokens) override;
  void select(std::span<const std::int32_t> sources) override;
  void join(LanguageSession& other) override;

 private:
  // Takes new embeddings of the rows.
  void take(const at::Tensor& embeds, std::span<const std::int64_t> offsets);
  // Runs the layers over the rows' new tokens; use(layers) takes what it needs of their results.
  template <typename T, typename Use>
  void run(std::span<const std::int64_t> offsets, const Use& use);
  std::span<const float> logits_after(std::span<const std::int64_t> offsets);

  // Gives rows that become long by their new tokens all their tokens as new ones: the long factors
  // turn the keys of every position. Returns the offsets of x_ as it is then.
  std::vector<std::int64_t> begin_long_rows(std::span<const std::int64_t> offsets);
  bool becomes_long(std::int64_t row, std::int64_t count) const;
  // Whether what the row has read is to be remembered; if not, forgets it.
  bool remembers(std::int64_t row);

  // Adds the learned positions of the new tokens.
  template <typename T>
  void add_positions(std::span<const std::int64_t> offsets);

  std::shared_ptr<const DecoderWeights> weights_;
  RopeTable rope_;
  KvCache cache_;
  ReadHistory history_;  // of rows that are not long yet, if length changes rotary factors
  std::vector<float> x_, logits_;      // [N, D], [rows, V]
  std::vector<std::uint8_t> scratch_;  // activations of one layer
};

}  // namespace blip2
