#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>

#include <ATen/core/ScalarType.h>

namespace blip2 {

// The parts from which a model is assembled before training; the keys of an assembly file
// (recipes/tiny_model.toml).
struct Assembly {
  std::string image_encoder, image_variant = "lite0", language_model, text_encoder;
  std::int64_t num_query_tokens = 32, cross_attention_frequency = 2, image_text_hidden_size = 256;
  double cross_attention_gain = 1;
  std::int64_t seed = 0;

  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    visit("image_encoder", self.image_encoder,
          "EfficientNet-Lite weights (.pth or safetensors), or a Hugging Face directory");
    visit("image_variant", self.image_variant, "variant of an EfficientNet-Lite: lite0 to lite4");
    visit("language_model", self.language_model,
          "a Hugging Face directory (T5 too), or a decoder-only model's GGUF file; empty: none");
    visit("text_encoder", self.text_encoder,
          "BERT directory whose weights the Q-Former starts from");
    visit("num_query_tokens", self.num_query_tokens, "number of learned queries");
    visit("cross_attention_frequency", self.cross_attention_frequency,
          "f: the queries read the picture in layers 0, f, 2f, ...");
    visit("image_text_hidden_size", self.image_text_hidden_size,
          "width of the vectors that contrast compares");
    visit("cross_attention_gain", self.cross_attention_gain,
          "factor on the value weights that cross-attention starts with; 1: as in the paper");
    visit("seed", self.seed, "seed of the random weights");
  }
};

// Reads an assembly file; its paths are relative to the file's folder. Error naming file and key.
// Several threads may call the functions of this header at once, with a folder each.
Assembly read_assembly(const std::filesystem::path& path);

// Writes a model directory that joins the parts by an untrained bridge. `weights`: the type of the
// language model's weights (kFloat, kBFloat16 or kHalf) or, if it is empty, as the language model's
// GGUF file has them: the directory then keeps that file, as a hard link or a copy. Error if a part
// is missing or does not fit, or if `folder` holds a model already.
void assemble(const Assembly& assembly, const std::filesystem::path& folder,
              std::optional<at::ScalarType> weights);

}  // namespace blip2
