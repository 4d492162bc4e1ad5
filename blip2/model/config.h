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

// The layout of a model directory: this program's own, which fits any parts, or the layout of one
// of transformers' classes.
enum class ModelLayout {
  own,
  blip2,         // Blip2ForConditionalGeneration
  retrieval,     // Blip2ForImageTextRetrieval
  instructblip,  // InstructBlipForConditionalGeneration
};

// The config.json of a model directory. A stage-1 model has the heads of ITC, ITM and (in this
// program's layout) ITG; a stage-2 model has a language model; a model between the stages has both.
struct Blip2Config {
  ModelLayout layout = ModelLayout::own;
  std::int64_t num_query_tokens = 32;
  std::int64_t image_text_hidden_size = 256;  // width in which pictures and texts are compared
  bool stage1_heads = true;
  bool reads_prompt = false;  // the Q-Former reads the prompt beside the picture (InstructBLIP)
  // Epsilon of the norm on image features: LAVIS has 1e-5; transformers has the image encoder's
  // epsilon.
  double feature_norm_eps = 1e-5;
  // The id that stands for a picture in transformers' prompts; -1: the file names none.
  std::int32_t image_token = -1;
  // The prompts that the model was trained with; {} stands for the question.
  std::string caption_prompt = "a photo of";
  std::string question_prompt = "Question: {} Short answer:";
  // Whether it was trained with its prompts as users' turns of the language model's chat template.
  bool chat_prompts = false;
  VisionConfig vision = EfficientNetLiteConfig{};
  QFormerConfig qformer;
  std::optional<LanguageConfig> language;

  // Whether the soft prompts of a picture depend on the prompt.
  bool prompt_matters() const { return reads_prompt || qformer.reads_language(); }
};

// Reads a config.json of this program's layout or of transformers', recognised by keys that only
// this program's has. Error naming file and key for an unknown key (in this program's layout),
// architecture or language model, for wrong types, and for sizes that contradict each other.
Blip2Config read_blip2_config(const std::filesystem::path& config_json);
nlohmann::json write_blip2_config(const Blip2Config& config);

// Error if the Q-Former reads a language model's states of another width than config.language has.
void check_language_width(const Blip2Config& config, const std::string& where);

// The name of transformers' class; empty for ModelLayout::own.
std::string architecture_of(ModelLayout layout);

}  // namespace blip2
