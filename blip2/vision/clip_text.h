#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "blip2/vision/vit_layers.h"

namespace blip2 {

// CLIP's "text_config" under Hugging Face's keys.
struct ClipTextConfig {
  std::string model_type = "clip_text_model";
  std::int64_t vocab_size = 49408, hidden_size = 512, intermediate_size = 2048,
               num_hidden_layers = 12, num_attention_heads = 8, max_position_embeddings = 77;
  double layer_norm_eps = 1e-5;
  std::string hidden_act = "quick_gelu";
  std::int64_t eos_token_id = 49407;  // 2 in old files, see end_of_text()

  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    visit("model_type", self.model_type, "clip_text_model");
    visit("vocab_size", self.vocab_size, "word embeddings");
    visit("hidden_size", self.hidden_size, "width");
    visit("intermediate_size", self.intermediate_size, "width inside the feed-forward");
    visit("num_hidden_layers", self.num_hidden_layers, "blocks");
    visit("num_attention_heads", self.num_attention_heads, "heads; they divide the width");
    visit("max_position_embeddings", self.max_position_embeddings, "tokens of the longest text");
    visit("layer_norm_eps", self.layer_norm_eps, "added to a variance before its root");
    visit("hidden_act", self.hidden_act, "gelu, gelu_pytorch_tanh or quick_gelu");
    visit("eos_token_id", self.eos_token_id, "the token that ends a text");
  }
};

// Ignores keys of Hugging Face that change nothing here. Error for other unknown keys, and for
// sizes that contradict each other or that no model has.
ClipTextConfig read_clip_text_config(const nlohmann::json& json, const std::string& where);

// The index of the id at which a text's vector is read, by transformers' rule: the first end token
// or, if `eos_token_id` is 2, which old files have by mistake, the first of the highest id. Error
// if the end token is not there.
std::int64_t end_of_text(std::span<const std::int32_t> ids, std::int64_t eos_token_id);

// CLIP's text transformer (Radford et al. 2021; transformers' CLIPTextModel): the blocks of its
// vision transformer, in which each token sees itself and the tokens before it. Its parameters have
// no memory before they are loaded; they have the checkpoint's names.
class ClipTextEncoder : public torch::nn::Module {
 public:
  explicit ClipTextEncoder(const ClipTextConfig& config);

  // The ids of one text -> [D] of the weights' type: the state of the end token. Error for more ids
  // than there are positions, for an id without an embedding, and if end_of_text() throws one.
  at::Tensor forward(std::span<const std::int32_t> ids) const;

  const ClipTextConfig& config() const { return config_; }

 private:
  ClipTextConfig config_;
  at::Tensor tokens_, positions_;  // [V, D], [T, D]
  std::vector<VitBlock> blocks_;
  Norm last_norm_;
};

}  // namespace blip2
