#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "blip2/language/frozen_language.h"
#include "blip2/nn/adopt.h"
#include "blip2/nn/low_rank.h"

namespace blip2 {

// LoRA adapters (arXiv 2106.09685) beside the matrices of a frozen language model's layers, under
// the names of Hugging Face's modules, as PyPI peft has them.

// The target that stands for all matrices, and what stands before a module's name in files.
inline constexpr char kAllLinear[] = "all-linear", kPeftPrefix[] = "base_model.model.";

struct LoraConfig {
  std::int64_t rank = 0;  // r; 0: no adapters
  double alpha = 16, dropout = 0;
  bool rslora = false;  // alpha is divided by the root of the rank (arXiv 2312.03732)
  // See lora_targets(); empty: queries and values of attention.
  std::vector<std::string> targets = {};
  double scale() const;  // what B A x is multiplied by
};

// A matrix that may have an adapter: [outs, ins] as it is multiplied with.
struct LoraModule {
  std::string name;  // "model.layers.0.self_attn.q_proj"
  std::int64_t ins = 0, outs = 0;
  bool transposed = false;  // files have it as [ins, outs], as GPT-2's Conv1D
};
// Where it is: its results are those of `linear` from `begin` on.
struct LoraPlace {
  LoraModule module;
  Linear* linear;
  std::int64_t begin = 0;
};

// The places of the matrices among a model's slots by Hugging Face's names (decoder_tensors,
// t5_tensors), in their order.
std::vector<LoraPlace> lora_places(const std::vector<TensorSlot>& slots);
// The matrices of a model's layers.
std::vector<LoraModule> lora_modules(const LanguageConfig& config);
// Those that `targets` name as peft understands a list: by whole names or by their ends ("q_proj",
// "mlp.c_proj"), or all of them by "all-linear". No targets: peft's own for the family, queries and
// values. Error at `where` for a target that names none; it lists the possible ends.
std::vector<LoraModule> lora_targets(const LanguageConfig& config,
                                     const std::vector<std::string>& targets,
                                     const std::string& where);

// The adapters of a model. For one thread at a time while they are trained.
class LoraAdapters {
 public:
  struct Adapter {
    LoraModule module;
    at::Tensor a, b;  // [rank, ins], [outs, rank]
  };

  // Tensors without memory, to be filled; parameters that get gradients if `trained`.
  LoraAdapters(LoraConfig config, const std::vector<LoraModule>& modules, bool trained);
  // As peft starts them: A uniform within 1 / sqrt(ins), B zero, so that they change nothing.
  LoraAdapters(const LoraConfig& config, const std::vector<LoraModule>& modules,
               std::uint64_t seed);

  const LoraConfig& config() const { return config_; }
  const std::vector<Adapter>& adapters() const { return adapters_; }
  bool trained() const { return trained_; }
  void set_dropout(double probability);
  std::int64_t parameters() const;
  // All tensors by peft's names ("base_model.model.<module>.lora_A.weight"): A and B in turn.
  std::vector<std::pair<std::string, at::Tensor>> tensors() const;
  // All numbers one after another, in that order; differentiable by the parameters.
  at::Tensor flat() const;

  // Puts each adapter beside its layer; the slots are the loaded model's.
  void attach(const std::vector<TensorSlot>& slots) const;
  // The module's weight with its adapter merged, f32, or the weight itself if the module has no
  // adapter. `name`: the module's, or its weight's. The weight is as files have it or, if
  // `as_multiplied`, [outs, ins].
  at::Tensor merged(const std::string& name, const at::Tensor& weight,
                    bool as_multiplied = false) const;
  // The adapter of the module, or nullptr.
  const Adapter* find(const std::string& name) const;

 private:
  friend class LoraPass;
  LoraConfig config_;
  std::vector<Adapter> adapters_;
  bool trained_;
  std::shared_ptr<LowRankDropout> dropout_;
};

// While one lives, passes through the model drop what its trained adapters read, as `seed` says;
// without a seed nothing is dropped. `adapters` may be null.
class LoraPass {
 public:
  LoraPass(const LoraAdapters* adapters, std::optional<std::uint64_t> seed);
  ~LoraPass();
  LoraPass(const LoraPass&) = delete;
  LoraPass& operator=(const LoraPass&) = delete;

 private:
  std::shared_ptr<LowRankDropout> dropout_;
};

}  // namespace blip2
