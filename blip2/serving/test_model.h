#pragma once
// For this room's tests: a small random model directory, and pictures.

#include <gtest/gtest.h>
#include <torch/torch.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "blip2/base/file.h"
#include "blip2/base/random.h"
#include "blip2/image/image.h"
#include "blip2/image/transform.h"
#include "blip2/io/safetensors.h"
#include "blip2/language/decoder_weights.h"
#include "blip2/language/t5_weights.h"
#include "blip2/model/directory.h"
#include "blip2/nn/tensor_bridge.h"
#include "blip2/text/unicode.h"
#include "blip2/vision/image_encoders.h"

namespace blip2 {

enum class TestModel { decoder, t5, reads_prompt, reads_language, t5_reads_language, compares };

constexpr std::int32_t kTestEnd = 256;  // the end token, behind the bytes

// tokenizer.json whose tokens are the 256 bytes, and an end token.
inline std::string byte_tokenizer() {
  nlohmann::json vocab;
  char32_t next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    const bool itself =
        (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    std::string letter;
    append_utf8(letter, itself ? static_cast<char32_t>(byte) : next++);
    vocab[letter] = byte;
  }
  return nlohmann::json{
      {"added_tokens", {{{"id", kTestEnd}, {"content", "<end>"}, {"special", true}}}},
      {"normalizer", nullptr},
      {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}}},
      {"post_processor", nullptr},
      {"decoder", {{"type", "ByteLevel"}}},
      {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", nlohmann::json::array()}}}}
      .dump();
}

inline LanguageConfig test_language(TestModel kind) {
  if (kind == TestModel::t5 || kind == TestModel::t5_reads_language) {
    T5Config t5;
    t5.vocab_size = 257, t5.d_model = 32, t5.d_kv = 8, t5.d_ff = 48;
    t5.num_layers = t5.num_decoder_layers = 2, t5.num_heads = 4;
    t5.eos_token_id = {kTestEnd};
    return t5;
  }
  DecoderConfig decoder;
  decoder.hidden_size = 32, decoder.intermediate_size = 48, decoder.num_hidden_layers = 2;
  decoder.num_attention_heads = 4, decoder.num_key_value_heads = 2, decoder.head_dim = 8;
  decoder.vocab_size = 257, decoder.max_position_embeddings = 256;
  decoder.bos_token_id = kTestEnd, decoder.eos_token_id = {kTestEnd};
  return decoder;
}

inline void write_slots(const std::vector<TensorSlot>& slots, const std::filesystem::path& path) {
  const at::Generator random = at::make_generator<at::CPUGeneratorImpl>(7);
  std::vector<at::Tensor> keep;
  std::vector<TensorView> views;
  for (const TensorSlot& slot : slots) {
    keep.push_back(at::randn(slot.shape, random) * 0.4);
    views.push_back(view_of(kLanguagePrefix + slot.name, keep.back()));
  }
  write_safetensors(path, views);
}

inline void write_language(const LanguageConfig& config, const std::filesystem::path& path) {
  if (const auto* t5 = std::get_if<T5Config>(&config)) {
    T5Weights weights;
    weights.config = *t5;
    return write_slots(t5_tensors(weights), path);
  }
  DecoderWeights weights;
  weights.config = std::get<DecoderConfig>(config);
  write_slots(decoder_tensors(weights), path);
}

// A model directory with all stages that there are, removed at the end.
class TestFolder {
 public:
  explicit TestFolder(TestModel kind) {
    std::filesystem::remove_all(path_);
    std::filesystem::create_directories(path_ / kQFormerTokenizer);
    Blip2Config config;
    config.num_query_tokens = 4, config.image_text_hidden_size = 8;
    config.reads_prompt = kind == TestModel::reads_prompt;
    VitConfig vit = VitConfig::of("siglip_vision_model");
    vit.hidden_size = 16, vit.intermediate_size = 24, vit.num_hidden_layers = 1;
    vit.num_attention_heads = 2, vit.image_size = 32, vit.patch_size = 16;
    config.vision = vit;
    QFormerConfig& qformer = config.qformer;
    qformer.vocab_size = 40, qformer.hidden_size = 16, qformer.num_hidden_layers = 2;
    qformer.num_attention_heads = 2, qformer.intermediate_size = 24;
    qformer.max_position_embeddings = 64, qformer.encoder_hidden_size = 16;
    qformer.use_qformer_text_input = true, qformer.initializer_range = 0.5;
    if (kind != TestModel::compares) config.language = test_language(kind);
    if (kind == TestModel::reads_language || kind == TestModel::t5_reads_language) {
      qformer.encoder_reads = {kReadsImage, kReadsLanguage};
      qformer.language_hidden_size = language_width(*config.language);
    }
    write_safetensors(path_ / kVisionFile, views_of(*make_image_encoder(vit, 1), kVisionPrefix));
    if (config.language) write_language(*config.language, path_ / kLanguageFile);
    save_bridge(Bridge(config, 3), path_);
    write_weight_index(path_);
    write_texts();
  }
  ~TestFolder() { std::filesystem::remove_all(path_); }
  const std::filesystem::path& path() const { return path_; }

 private:
  void write_texts() const {
    Preprocessing preprocessing;
    preprocessing.width = preprocessing.height = 32;
    save_preprocessing(preprocessing, path_ / "preprocessor_config.json");
    write_file(path_ / "tokenizer.json", byte_tokenizer());
    nlohmann::json ends{kTestEnd};
    for (int byte = 200; byte < 215; ++byte) ends.push_back(byte);
    write_file(path_ / "generation_config.json", nlohmann::json{{"eos_token_id", ends}}.dump());
    std::string words = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n";
    for (char c = 'a'; c <= 'z'; ++c) words += std::string(1, c) + "\n";
    write_file(path_ / kQFormerTokenizer / "vocab.txt", words + "cat\ndog\n##s\n");
  }

  std::filesystem::path path_ =
      std::filesystem::path(::testing::TempDir()) / ("serving_model_" + std::to_string(::getpid()));
};

// A PNG file of random pixels.
inline std::string test_picture(std::uint64_t seed) {
  Image image{40, 36, {}};
  Random random(seed);
  for (int i = 0; i < 40 * 36 * 3; ++i) {
    image.rgb.push_back(static_cast<std::uint8_t>(random.uniform() * 256));
  }
  return encode_png(image);
}

}  // namespace blip2
