#include <algorithm>
#include <iterator>
#include <string_view>
#include <utility>

#include "blip2/language/gguf_tensors_internal.h"

namespace blip2 {
namespace {

constexpr std::pair<std::string_view, std::string_view> kParts[] = {
    {"SelfAttention.q", "attn_q"},
    {"SelfAttention.k", "attn_k"},
    {"SelfAttention.v", "attn_v"},
    {"SelfAttention.o", "attn_o"},
    {"SelfAttention.relative_attention_bias", "attn_rel_b"},
    {"EncDecAttention.q", "cross_attn_q"},
    {"EncDecAttention.k", "cross_attn_k"},
    {"EncDecAttention.v", "cross_attn_v"},
    {"EncDecAttention.o", "cross_attn_o"},
    {"DenseReluDense.wi_0", "ffn_gate"},
    {"DenseReluDense.wi_1", "ffn_up"},
    {"DenseReluDense.wi", "ffn_up"},
    {"DenseReluDense.wo", "ffn_down"},
};

// Of "1.layer_norm", the norm of the second of a block's parts, or "0.SelfAttention.q".
std::string_view part_name(std::string_view part, bool decoder) {
  if (part == "0.layer_norm") return "attn_norm";
  if (part == "1.layer_norm" && decoder) return "cross_attn_norm";
  if (part.ends_with("layer_norm")) return "ffn_norm";
  part.remove_prefix(2);
  const auto found =
      std::ranges::find(kParts, part, &std::pair<std::string_view, std::string_view>::first);
  return found == std::end(kParts) ? part : found->second;
}

}  // namespace

std::string t5_gguf_name(const std::string& name) {
  constexpr std::string_view kBlock = ".block.", kLayer = ".layer.", kWeight = ".weight";
  if (name == "shared.weight") return "token_embd.weight";
  if (name == "lm_head.weight") return "output.weight";
  const bool decoder = name.starts_with("decoder.");
  const std::string stack = decoder ? "dec." : "enc.";
  const std::size_t block = name.find(kBlock), layer = name.find(kLayer);
  if (block == std::string::npos || layer == std::string::npos) return stack + "output_norm.weight";
  const std::size_t number = block + kBlock.size(), part = layer + kLayer.size();
  return stack + "blk." + name.substr(number, layer - number) + "." +
         std::string(part_name(
             std::string_view(name).substr(part, name.size() - kWeight.size() - part), decoder)) +
         ".weight";
}

}  // namespace blip2
