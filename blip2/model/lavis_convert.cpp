#include "blip2/model/lavis_convert.h"

#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <variant>
#include <vector>

#include "blip2/base/error.h"
#include "blip2/image/transform.h"
#include "blip2/io/fields.h"
#include "blip2/io/hub_cache.h"
#include "blip2/io/json.h"
#include "blip2/io/toml.h"
#include "blip2/language/frozen_language.h"
#include "blip2/model/convert.h"
#include "blip2/model/directory.h"
#include "blip2/model/lavis_checkpoint_internal.h"
#include "blip2/model/lavis_texts_internal.h"
#include "blip2/model/weight_writer_internal.h"
#include "blip2/nn/tensor_bridge.h"
#include "blip2/vision/foreign_names.h"
#include "blip2/vision/image_encoders.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;

// The parts' tensors under this program's names, as one file.
class PartsFile : public TensorFile {
 public:
  explicit PartsFile(const LavisCheckpoint& checkpoint) : TensorFile(checkpoint.file->path()) {
    keep(checkpoint.file);
    for (const auto& [name, view] : checkpoint.bridge) take(*view, name);
  }
  std::string_view format() const override { return "LAVIS checkpoint with its parts"; }

  void take(TensorView view, std::string name) {
    view.name = std::move(name);
    add(std::move(view));
  }
  void take(const std::string& name, const at::Tensor& tensor) {
    add(view_of(name, tensor));
    tensors_.push_back(tensor);
  }
  void hold(std::shared_ptr<const TensorFile> file) { keep(std::move(file)); }

 private:
  std::vector<at::Tensor> tensors_;
};

// The type of a part's floating-point tensors; of several, f32.
at::ScalarType widest_type(const TensorFile& file, const std::string& prefix) {
  const at::ScalarType first = stored_type(file, prefix);
  for (const TensorView& view : file.tensors()) {
    if (!view.name.starts_with(prefix) || !is_floating(view.dtype)) continue;
    if (scalar_type_of(view.dtype) != first) return at::kFloat;
  }
  return first;
}

struct ImageSource {
  std::shared_ptr<const TensorFile> file;
  std::string prefix;
  VisionConfig config;
};

// A directory of the encoder alone, or of a model that has it.
ImageSource image_directory(const fs::path& folder) {
  const std::string where = (folder / "config.json").string();
  nlohmann::json json = read_json(folder / "config.json");
  if (json.contains("vision_config")) json = nlohmann::json(json["vision_config"]);
  ImageSource source;
  source.config = read_vision_config(json, where, "blip_2_vision_model");
  if (auto* vit = std::get_if<VitConfig>(&source.config)) vit->align_corners = vit->is_clip();
  source.file = open_model_weights(folder);
  source.prefix = find_encoder_prefix(*source.file, source.config);
  return source;
}

ImageSource image_source(const LavisCheckpoint& checkpoint, const LavisParts& parts) {
  if (!checkpoint.image_prefix.empty()) {
    return {checkpoint.file, checkpoint.image_prefix,
            lavis_vit_config(*checkpoint.file, checkpoint.image_prefix)};
  }
  if (parts.image_encoder.empty()) {
    throw Error(
        "the checkpoint lacks its image encoder, which was frozen", parts.checkpoint,
        fmt::format("give with --image-encoder what it was trained on: {} wide, {}",
                    checkpoint.qformer.encoder_hidden_size,
                    checkpoint.qformer.encoder_hidden_size == 1024
                        ? "LAVIS's clip_vit_L.pth"
                        : "LAVIS's eva_vit_g.pth or a Hugging Face directory of that encoder"));
  }
  if (fs::is_directory(parts.image_encoder)) return image_directory(parts.image_encoder);
  ImageSource source;
  source.file = open_tensor_file(parts.image_encoder);
  for (const char* prefix : {"", "visual_encoder.", "model.visual_encoder."}) {
    source.prefix = prefix;
    if (source.file->find(source.prefix + "cls_token")) break;
    if (source.file->find(source.prefix + "class_embedding")) break;
  }
  source.config = lavis_vit_config(*source.file, source.prefix);
  return source;
}

void add_image_encoder(const LavisCheckpoint& checkpoint, const LavisParts& parts,
                       Blip2Config& config, PartsFile& weights) {
  const ImageSource source = image_source(checkpoint, parts);
  const auto encoder = load_image_encoder(source.file, source.config, source.prefix,
                                          widest_type(*source.file, source.prefix));
  if (encoder->width() != checkpoint.qformer.encoder_hidden_size) {
    throw Error(fmt::format("the Q-Former reads features {} wide, the image encoder's are {}",
                            checkpoint.qformer.encoder_hidden_size, encoder->width()),
                source.file->path().string(), "it is not the encoder that was trained on");
  }
  config.vision = source.config;
  for (const auto& [name, tensor] : members_of(*encoder)) {
    weights.take(kVisionPrefix + name, tensor.detach());
  }
}

void add_language_model(const LavisCheckpoint& checkpoint, const LavisParts& parts,
                        Blip2Config& config, PartsFile& weights) {
  if (parts.language_model.empty()) {
    throw Error("the checkpoint lacks its language model, which was frozen", parts.checkpoint,
                fmt::format("give with --language-model the Hugging Face directory of {}, {} wide",
                            lavis_language(checkpoint.projection), checkpoint.language_width));
  }
  const fs::path folder = parts.language_model;
  const bool inside = !checkpoint.language_prefix.empty();
  config.language = lavis_language_config(folder);
  std::shared_ptr<const TensorFile> file = checkpoint.file;
  if (!inside) file = open_model_weights(folder);
  const std::string prefix = checkpoint.language_prefix;
  const at::ScalarType type = widest_type(*file, prefix);
  if (language_width(*config.language) != checkpoint.language_width) {
    throw Error(fmt::format("{} projects to a language model {} wide, this one is {}",
                            checkpoint.projection, checkpoint.language_width,
                            language_width(*config.language)),
                folder.string(), "it is not the model that was trained on");
  }
  if (const auto* decoder = std::get_if<DecoderConfig>(&*config.language)) {
    const auto model = load_language_model(file, *decoder, type, prefix);
    for (const auto& [name, tensor] : model->tensors()) {
      weights.take(kLanguagePrefix + name, tensor);
    }
    return;
  }
  const auto t5 = load_t5_weights(file, std::get<T5Config>(*config.language),
                                  type == at::kHalf ? at::kFloat : type, prefix);
  for (const TensorSlot& slot : t5_tensors(*t5)) {  // a tied head is not in the file
    const TensorView* view = file->find(prefix + slot.name);
    if (view) weights.take(*view, kLanguagePrefix + slot.name);
  }
  weights.hold(file);
}

Blip2Config config_of(const LavisCheckpoint& checkpoint) {
  Blip2Config config;
  config.num_query_tokens = checkpoint.num_query_tokens;
  config.stage1_heads = checkpoint.contrast_width > 0;
  if (config.stage1_heads) config.image_text_hidden_size = checkpoint.contrast_width;
  config.qformer = checkpoint.qformer;
  config.reads_prompt = checkpoint.language_width > 0 && checkpoint.qformer.use_qformer_text_input;
  if (config.reads_prompt) config.caption_prompt = "A short image description.";
  return config;
}

}  // namespace

std::optional<LavisParts> read_lavis_parts(const fs::path& toml) {
  const nlohmann::json table = read_toml(toml);
  if (!table.is_object() || !table.contains("checkpoint")) return std::nullopt;
  LavisParts parts;
  read_fields(parts, table, toml.string());
  const fs::path folder = fs::absolute(toml).parent_path();
  for (std::string* part :
       {&parts.checkpoint, &parts.image_encoder, &parts.language_model, &parts.text_encoder}) {
    if (!part->empty()) *part = find_model(*part, folder).string();
  }
  return parts;
}

void convert_lavis(const LavisParts& parts, const fs::path& folder,
                   std::optional<at::ScalarType> weights, bool own_layout) {
  const LavisCheckpoint checkpoint = read_lavis_checkpoint(open_tensor_file(parts.checkpoint));
  Blip2Config config = config_of(checkpoint);
  const auto file = std::make_shared<PartsFile>(checkpoint);
  add_image_encoder(checkpoint, parts, config, *file);
  if (checkpoint.language_width > 0) add_language_model(checkpoint, parts, config, *file);
  const TemporaryFolder texts;
  write_lavis_texts(checkpoint, parts, config, texts.path());
  write_model(file, config, texts.path(), folder, weights, own_layout);
}

}  // namespace blip2
