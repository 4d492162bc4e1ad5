#include <filesystem>
#include <memory>
#include <optional>

#include "apps/blip2/model_flag.h"
#include "apps/blip2/options.h"
#include "apps/blip2/verbs.h"
#include "blip2/base/error.h"
#include "blip2/base/log.h"
#include "blip2/model/assembly.h"
#include "blip2/model/convert.h"
#include "blip2/model/directory.h"
#include "blip2/model/image_side.h"
#include "blip2/model/language_side.h"
#include "blip2/model/lavis_convert.h"
#include "blip2/model/vision_weights.h"

namespace blip2 {
namespace {

struct ConvertOptions {
  std::string source, folder, weights = "auto", vision_weights = "auto";
  LavisParts lavis;
  bool own_layout = false, merge_lora = false;
  PictureChoices pictures;
};

// The LAVIS checkpoint that a source names: the source itself, or the checkpoint in a TOML file.
std::optional<LavisParts> lavis_parts(const ConvertOptions& options) {
  const std::filesystem::path source = options.source;
  LavisParts given = options.lavis;
  given.checkpoint = options.source;
  if (source.extension() != ".toml") return given;
  auto named = read_lavis_parts(source);
  if (!named) return std::nullopt;
  if (given.image_encoder.empty()) given.image_encoder = named->image_encoder;
  if (given.language_model.empty()) given.language_model = named->language_model;
  if (given.text_encoder.empty()) given.text_encoder = named->text_encoder;
  given.checkpoint = named->checkpoint;
  return given;
}

// Writes the choices for pictures into the new directory, which training follows too.
void keep_choices(const ConvertOptions& options) {
  if (!options.pictures.processor && !options.pictures.sixteen_bit) return;
  const std::filesystem::path folder = options.folder;
  for (const auto& place : {folder, folder / kStage1Folder}) {
    if (!std::filesystem::exists(place)) continue;
    const Preprocessing own = load_preprocessing(preprocessing_file(place));
    save_preprocessing(with_choices(own, options.pictures), place / "preprocessor_config.json");
  }
}

// The blocks that --weights asks a language model to be kept in.
std::optional<DType> blocks_of(const std::string& weights) {
  if (weights == "q8_0" || weights == "int8") return DType::q8_0;
  if (weights == "q4_0" || weights == "int4") return DType::q4_0;
  if (weights == "q4_k") return DType::q4_k;
  return std::nullopt;
}

void convert(const ConvertOptions& options) {
  const std::optional<DType> blocks = blocks_of(options.weights);
  const bool own_layout = options.own_layout || options.vision_weights == "q8_0";
  const bool named = options.weights != "auto" && options.weights != "stored" && !blocks;
  std::optional<at::ScalarType> type;
  if (options.merge_lora && !std::filesystem::is_directory(options.source)) {
    throw Error("adapters are merged into a model directory", options.source);
  }
  if (named) type = type_of_precision(options.weights, at::kFloat);
  NewModelFolder made(options.folder);  // until the last step has been taken
  if (std::filesystem::is_directory(options.source)) {
    convert_model(options.source, options.folder, type, own_layout, blocks, options.merge_lora);
  } else if (const auto parts = lavis_parts(options)) {
    convert_lavis(*parts, options.folder, type, own_layout || blocks);
    if (blocks) quantise_language(options.folder, *blocks);
  } else {
    if (options.weights == "auto" || blocks) type = at::kBFloat16;
    assemble(read_assembly(options.source), options.folder, type);
    if (blocks) quantise_language(options.folder, *blocks);
  }
  if (blocks && !std::filesystem::exists(std::filesystem::path(options.folder) / kLanguageGguf)) {
    log_warning("{} has no language model: nothing was quantised", options.source);
  }
  if (options.vision_weights != "auto") {
    convert_vision(options.folder, options.vision_weights == "bf16" ? DType::bf16 : DType::q8_0);
  }
  keep_choices(options);
  made.finish();
  log_info("model written to {}", options.folder);
}

}  // namespace

void add_convert(CLI::App& app) {
  auto* verb = app.add_subcommand(
      "convert", "Assemble a model directory, change its precision, or bring it to transformers");
  auto options = std::make_shared<ConvertOptions>();
  add_model(*verb, "SOURCE", options->source,
            "Model directory, LAVIS checkpoint (.pth), a file that names parts (TOML)")
      ->required();
  verb->add_option("DIR", options->folder, "Model directory to write")
      ->required()
      ->check(refuse_empty);
  verb->add_option("--weights", options->weights,
                   "Number type of the image encoder's, the language model's and the projection's "
                   "weights; auto: as they are, bf16 when assembling; stored: as they are, a GGUF "
                   "file kept with its blocks; q8_0 (int8), q4_0 (int4), q4_k (llama.cpp's "
                   "Q4_K_M): the language model quantised as a GGUF file, the rest as with auto")
      ->check(CLI::IsMember(
          {"auto", "stored", "f32", "bf16", "f16", "q8_0", "q4_0", "q4_k", "int8", "int4"}))
      ->capture_default_str();
  verb->add_option("--vision-weights", options->vision_weights,
                   "Number type of a vision transformer's weights, whatever --weights says; auto: "
                   "as --weights makes them; q8_0: the matrices of its blocks quantised, the rest "
                   "as with auto")
      ->check(CLI::IsMember({"auto", "bf16", "q8_0"}))
      ->capture_default_str();
  verb->add_flag(
      "--own-layout", options->own_layout,
      "Keep this program's own layout even where transformers has a class for the model");
  verb->add_flag("--merge-lora", options->merge_lora,
                 "Merge the language model's adapters (LoRA), which the directory has beside it, "
                 "into its weights");
  add_model(*verb, "--image-encoder", options->lavis.image_encoder,
            "For a LAVIS checkpoint without an image encoder: LAVIS's eva_vit_g.pth or "
            "clip_vit_L.pth, a Hugging Face directory");
  add_model(*verb, "--language-model", options->lavis.language_model,
            "For a LAVIS checkpoint of stage 2: Hugging Face directory of the language model");
  add_model(*verb, "--text-encoder", options->lavis.text_encoder,
            "For a LAVIS checkpoint whose Q-Former reads text: directory with the vocabulary of "
            "bert-base-uncased");
  add_picture_choices(*verb, options->pictures);
  verb->footer(
      "A directory of transformers' Blip2ForConditionalGeneration, Blip2ForImageTextRetrieval or\n"
      "InstructBlipForConditionalGeneration keeps that layout. A model trained here gets it if "
      "its\n"
      "image encoder is EVA-CLIP's (blip_2_vision_model) and is not quantised; other models keep\n"
      "this program's layout.");
  verb->callback([options] { convert(*options); });
}

}  // namespace blip2
