#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "blip2/language/decoder_config.h"
#include "blip2/qformer/config.h"
#include "blip2/vision/efficientnet_lite.h"

namespace blip2 {

// The config.json of a model directory, in the layout of Hugging Face's Blip2Config. A stage-1
// model has the heads of ITC, ITM and ITG, a stage-2 model a language model; a model between the
// stages has both.
struct Blip2Config {
  std::int64_t num_query_tokens = 32;
  std::int64_t image_text_hidden_size = 256;  // width in which pictures and texts are compared
  bool stage1_heads = true;
  bool reads_prompt = false;  // the Q-Former reads the prompt beside the picture (InstructBLIP)
  // The prompts that the model was trained with; {} stands for the question.
  std::string caption_prompt = "a photo of";
  std::string question_prompt = "Question: {} Short answer:";
  EfficientNetLiteConfig vision;
  QFormerConfig qformer;
  std::optional<DecoderConfig> language;
};

// Error naming file and key for unknown keys, wrong types and sizes that contradict each other.
Blip2Config read_blip2_config(const std::filesystem::path& config_json);
nlohmann::json write_blip2_config(const Blip2Config& config);

}  // namespace blip2
