#include "blip2/model/assembly.h"

#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>

#include "blip2/base/error.h"
#include "blip2/base/file.h"
#include "blip2/image/transform.h"
#include "blip2/io/fields.h"
#include "blip2/io/gguf.h"
#include "blip2/io/hub_cache.h"
#include "blip2/io/json.h"
#include "blip2/io/members.h"
#include "blip2/io/safetensors.h"
#include "blip2/io/toml.h"
#include "blip2/language/language_model.h"
#include "blip2/model/directory.h"
#include "blip2/model/generation_config.h"
#include "blip2/model/language_side.h"
#include "blip2/nn/tensor_bridge.h"
#include "blip2/text/tokenizer.h"
#include "blip2/vision/image_encoders.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;

struct ImagePart {
  std::shared_ptr<ImageEncoder> encoder;
  Preprocessing preprocessing;
};

// An EfficientNet-Lite's weight file, or a directory with any known image encoder's config.json.
ImagePart open_encoder(const Assembly& assembly, VisionConfig& config) {
  const fs::path path = assembly.image_encoder;
  if (!fs::is_directory(path)) {
    const auto lite = EfficientNetLiteConfig::of(assembly.image_variant);
    config = lite;
    return {load_image_encoder(open_tensor_file(path), lite, {}), default_preprocessing(lite)};
  }
  const auto where = path / "config.json", preprocessor = preprocessing_file(path);
  config = read_vision_config(read_json(where), where.string());
  std::shared_ptr<const TensorFile> weights = open_model_weights(path);
  const std::string prefix = find_encoder_prefix(*weights, config);
  const at::ScalarType type = stored_type(*weights, prefix);
  ImagePart part{
      load_image_encoder(std::move(weights), config, prefix, type),
      fs::exists(preprocessor) ? load_preprocessing(preprocessor) : default_preprocessing(config)};
  // The configuration says how large pictures of any aspect become.
  if (part.preprocessing.max_num_patches > 0) part.encoder->take_pictures(part.preprocessing);
  config = read_vision_config(part.encoder->config_json(), where.string());
  return part;
}

struct LanguagePart {
  LanguageConfig config;
  std::vector<std::pair<std::string, at::Tensor>> tensors;  // under Hugging Face's names
  at::Tensor words;                                         // the embeddings [V, width]
  std::unique_ptr<Tokenizer> tokenizer;
  fs::path gguf;  // the file to keep in place of the tensors
};

bool is_t5(const fs::path& path) {
  const fs::path config = path / "config.json";
  return fs::exists(config) &&
         member_or<std::string>(read_json(config), "model_type", "", config.string()) == "t5";
}

void open_t5(const fs::path& path, at::ScalarType type, LanguagePart& part) {
  const fs::path where = path / "config.json";
  const T5Config config = t5_config_from_json(read_json(where), where.string());
  const auto weights = load_t5_weights(open_model_weights(path), config, type);
  for (const TensorSlot& slot : t5_tensors(*weights)) {
    part.tensors.emplace_back(slot.name, slot.tensor());
  }
  part.words = weights->embeddings.values;
  part.config = config;
}

void open_decoder(const fs::path& path, at::ScalarType type, LanguagePart& part) {
  auto files = open_language_files(path);
  const auto model = load_language_model(std::move(files.weights), files.config, type);
  part.tensors = model->tensors();
  part.words = model->embed(at::arange(model->vocabulary(), at::kLong));
  part.config = std::move(files.config);
}

// A GGUF file that is kept as it is: one file, whose matrices the program multiplies with.
void keep_gguf(const fs::path& path, LanguagePart& part) {
  if (fs::is_directory(path)) {
    throw Error("expected a GGUF file, got a directory", path.string(),
                "only a GGUF file is kept as it is; ask for bf16, f16 or f32");
  }
  auto files = open_language_files(path);
  const auto* file = dynamic_cast<const GgufFile*>(files.weights.get());
  if (file != nullptr && file->integer("split.count").value_or(1) > 1) {
    throw Error("is one of several parts", path.string(),
                "join them with llama.cpp's gguf-split, or ask for bf16, f16 or f32");
  }
  const auto model = load_language_model(std::move(files.weights), files.config, at::kFloat, {},
                                         MatrixForm::blocks);
  part.words = model->embed(at::arange(model->vocabulary(), at::kLong));
  part.config = std::move(files.config);
  part.gguf = fs::canonical(path);
}

LanguagePart open_language(const fs::path& path, std::optional<at::ScalarType> type) {
  LanguagePart part;
  part.tokenizer = load_tokenizer(path);
  if (!type) {
    keep_gguf(path, part);
  } else if (is_t5(path)) {
    open_t5(path, *type, part);
  } else {
    open_decoder(path, *type, part);
  }
  check_vocabulary(*part.tokenizer, vocabulary_of(part.config), path);
  return part;
}

void write_language(const LanguagePart& part, const fs::path& folder) {
  if (!part.gguf.empty()) return link_file(part.gguf, folder / kLanguageGguf);
  std::vector<TensorView> views;
  for (const auto& [name, tensor] : part.tensors)
    views.push_back(view_of(kLanguagePrefix + name, tensor));
  write_safetensors(folder / kLanguageFile, views, {{"format", "pt"}});
}

// The Q-Former that a BERT checkpoint starts: its sizes, cross-attention added, [DEC] appended.
QFormerConfig qformer_config_of(const Assembly& assembly, const nlohmann::json& bert,
                                const std::string& where, std::int64_t words,
                                std::int64_t image_width) {
  QFormerConfig config;
  const auto read = [&](const char* key, auto& value) { read_member(value, bert, key, where); };
  read("hidden_size", config.hidden_size);
  read("num_hidden_layers", config.num_hidden_layers);
  read("num_attention_heads", config.num_attention_heads);
  read("intermediate_size", config.intermediate_size);
  read("max_position_embeddings", config.max_position_embeddings);
  read("layer_norm_eps", config.layer_norm_eps);
  config.vocab_size = words;
  config.cross_attention_frequency = assembly.cross_attention_frequency;
  config.encoder_hidden_size = image_width;
  config.use_qformer_text_input = true;
  check_qformer_config(config, where);
  return config;
}

// Soft prompts start with the spread of the language model's own words: hidden queries leave a
// LayerNorm with unit variance, so the projection's weights get that spread over sqrt(width).
void scale_projection(const Bridge& bridge, const at::Tensor& words) {
  const at::NoGradGuard no_grad;
  const double spread = words.to(at::kFloat).std().item<double>();
  const auto& config = bridge.config().qformer;
  const double deviation = spread / std::sqrt(static_cast<double>(config.hidden_size));
  bridge.language_projection->weight.mul_(deviation / config.initializer_range);
}

// Contrast learns faster if what cross-attention reads starts larger than BERT's spread makes it: a
// mean over many positions leaves little. From about 4 on all queries become one, and soft prompts
// can no longer say different words.
void amplify_cross_attention(const Bridge& bridge, double gain) {
  const at::NoGradGuard no_grad;
  for (const auto& item : bridge.qformer->named_parameters()) {
    const std::string& name = item.key();
    if (name.ends_with("crossattention.attention.value.weight")) item.value().mul_(gain);
  }
}

}  // namespace

Assembly read_assembly(const fs::path& path) {
  Assembly assembly;
  read_fields(assembly, read_toml(path), path.string());
  const fs::path folder = fs::absolute(path).parent_path();
  for (std::string* part :
       {&assembly.image_encoder, &assembly.language_model, &assembly.text_encoder}) {
    if (!part->empty()) *part = find_model(*part, folder).string();
  }
  if (assembly.image_encoder.empty() || assembly.text_encoder.empty()) {
    throw Error("expected the keys image_encoder and text_encoder", path.string());
  }
  if (!(assembly.cross_attention_gain > 0 && assembly.cross_attention_gain <= 100)) {
    throw Error("expected a number above 0 and at most 100",
                path.string() + ": cross_attention_gain");
  }
  return assembly;
}

void assemble(const Assembly& assembly, const fs::path& folder,
              std::optional<at::ScalarType> weights) {
  NewModelFolder made(folder);
  Blip2Config config;
  config.num_query_tokens = assembly.num_query_tokens;
  config.image_text_hidden_size = assembly.image_text_hidden_size;
  const ImagePart image = open_encoder(assembly, config.vision);
  const fs::path bert = assembly.text_encoder;
  const auto words = load_tokenizer(bert);
  words->add_token("[DEC]");
  config.qformer =
      qformer_config_of(assembly, read_json(bert / "config.json"), (bert / "config.json").string(),
                        words->size(), image.encoder->width());
  LanguagePart language;
  if (!assembly.language_model.empty()) {
    language = open_language(assembly.language_model, weights);
    config.language = language.config;
  }
  const Bridge bridge(config, static_cast<std::uint64_t>(assembly.seed));
  bridge.qformer->init_from_bert(open_model_weights(bert));
  amplify_cross_attention(bridge, assembly.cross_attention_gain);
  if (config.language) scale_projection(bridge, language.words);

  made.make();
  write_safetensors(folder / kVisionFile, views_of(*image.encoder, kVisionPrefix),
                    {{"format", "pt"}});
  save_preprocessing(image.preprocessing, folder / "preprocessor_config.json");
  fs::create_directories(folder / kQFormerTokenizer);
  words->save(folder / kQFormerTokenizer);
  if (config.language) {
    write_language(language, folder);
    language.tokenizer->save(folder);
    write_own_generation_config(folder, config, *language.tokenizer, /*guard=*/false, folder);
  }
  save_bridge(bridge, folder);
  write_weight_index(folder);
  made.finish();
}

}  // namespace blip2
