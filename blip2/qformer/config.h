#pragma once

#include <algorithm>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "blip2/io/fields.h"

namespace blip2 {

// The values of QFormerConfig::encoder_reads.
inline constexpr char kReadsImage[] = "image", kReadsLanguage[] = "language";

// Sizes and settings of a Q-Former under Hugging Face's keys and with its defaults
// (Blip2QFormerConfig).
struct QFormerConfig {
  std::int64_t vocab_size = 30522, hidden_size = 768, num_hidden_layers = 12,
               num_attention_heads = 12, intermediate_size = 3072, max_position_embeddings = 512,
               cross_attention_frequency = 2, encoder_hidden_size = 1408;
  double layer_norm_eps = 1e-12, hidden_dropout_prob = 0.1, attention_probs_dropout_prob = 0.1,
         initializer_range = 0.02;
  bool use_qformer_text_input = false;
  // Not of Hugging Face: what cross-attention reads, and the width of the language model's states
  // if it reads them (0: it does not).
  std::vector<std::string> encoder_reads = {kReadsImage};
  std::int64_t language_hidden_size = 0;

  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    visit("vocab_size", self.vocab_size, "number of tokens in the vocabulary, [DEC] included");
    visit("hidden_size", self.hidden_size, "hidden size");
    visit("num_hidden_layers", self.num_hidden_layers, "number of layers");
    visit("num_attention_heads", self.num_attention_heads,
          "number of heads; it divides the hidden size");
    visit("intermediate_size", self.intermediate_size, "width inside the feed-forward");
    visit("max_position_embeddings", self.max_position_embeddings, "longest text, in tokens");
    visit("cross_attention_frequency", self.cross_attention_frequency,
          "layers 0, f, 2f, ... read the picture");
    visit("encoder_hidden_size", self.encoder_hidden_size, "width of the image features");
    visit("layer_norm_eps", self.layer_norm_eps, "added to a variance before its square root");
    visit("hidden_dropout_prob", self.hidden_dropout_prob, "dropout of activations in training");
    visit("attention_probs_dropout_prob", self.attention_probs_dropout_prob,
          "dropout of attention weights in training");
    visit("initializer_range", self.initializer_range, "standard deviation of random weights");
    visit("use_qformer_text_input", self.use_qformer_text_input,
          "whether there are word embeddings and a feed-forward for text");
    visit("encoder_reads", self.encoder_reads,
          "what cross-attention reads: image, and language for the language model's states too");
    visit("language_hidden_size", self.language_hidden_size,
          "width of the language model's states; 0: they are not read");
  }

  std::int64_t head_size() const { return hidden_size / num_attention_heads; }
  // Whether cross-attention reads the last hidden states that a frozen language model has of a text
  // beside the picture's features, in one softmax.
  bool reads_language() const { return reads(encoder_reads, kReadsLanguage); }
  static bool reads(const std::vector<std::string>& what, std::string_view name) {
    return std::find(what.begin(), what.end(), name) != what.end();
  }
  bool crosses(std::int64_t layer) const { return layer % cross_attention_frequency == 0; }
};

// Reads Hugging Face's qformer_config. Its keys that have no meaning here are ignored, other
// unknown keys are an Error. Error for impossible sizes (heads that do not divide the hidden size,
// ...).
QFormerConfig read_qformer_config(const nlohmann::json& json, const std::string& where);
nlohmann::json write_qformer_config(const QFormerConfig& config);
// Throws the Error of read_qformer_config.
void check_qformer_config(const QFormerConfig& config, const std::string& where);
// Error unless the list has "image", and nothing twice or unknown.
void check_encoder_reads(const std::vector<std::string>& reads, const std::string& where);

}  // namespace blip2
