#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "blip2/language/frozen_language.h"
#include "blip2/qformer/config.h"
#include "blip2/vision/vision_config.h"

namespace blip2 {

// Whose layout a model directory has: this program's own, which any parts fit, or that of one of
// transformers' classes.
enum class ModelLayout {
  own,
  blip2,         // Blip2ForConditionalGeneration
  retrieval,     // Blip2ForImageTextRetrieval
  instructblip,  // InstructBlipForConditionalGeneration
};

// The config.json of a model directory. A stage-1 model has the heads of ITC, ITM and (in the own
// layout) ITG, a stage-2 model a language model; a model between the stages has both.
struct Blip2Config {
  ModelLayout layout = ModelLayout::own;
  std::int64_t num_query_tokens = 32;
  std::int64_t image_text_hidden_size = 256;  // width in which pictures and texts are compared
  bool stage1_heads = true;
  bool reads_prompt = false;  // the Q-Former reads the prompt beside the picture (InstructBLIP)
  // Of the norm on image features: LAVIS's 1e-5; transformers takes the image encoder's own.
  double feature_norm_eps = 1e-5;
  // The id that stands for a picture in transformers' prompts; -1: none is named.
  std::int32_t image_token = -1;
  // The prompts that the model was trained with; {} stands for the question.
  std::string caption_prompt = "a photo of";
  std::string question_prompt = "Question: {} Short answer:";
  VisionConfig vision = EfficientNetLiteConfig{};
  QFormerConfig qformer;
  std::optional<LanguageConfig> language;
};

// Reads this program's own and transformers' config.json, told apart by what only ours has. Error
// naming file and key for unknown keys (ours), architectures and language models, wrong types and
// sizes that contradict each other.
Blip2Config read_blip2_config(const std::filesystem::path& config_json);
nlohmann::json write_blip2_config(const Blip2Config& config);

// The name of transformers' class; empty for the own layout.
std::string architecture_of(ModelLayout layout);

}  // namespace blip2
