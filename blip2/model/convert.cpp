#include "blip2/model/convert.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>

#include "blip2/base/error.h"
#include "blip2/base/file.h"
#include "blip2/base/log.h"
#include "blip2/io/json.h"
#include "blip2/io/safetensors.h"
#include "blip2/language/frozen_language.h"
#include "blip2/language/lora_files.h"
#include "blip2/model/directory.h"
#include "blip2/model/generation_config.h"
#include "blip2/model/language_side.h"
#include "blip2/model/lora_merge_internal.h"
#include "blip2/model/weight_writer_internal.h"
#include "blip2/nn/adopt.h"
#include "blip2/nn/tensor_bridge.h"
#include "blip2/vision/image_encoders.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr char kImageToken[] = "<image>";

const char* type_name(at::ScalarType type) {
  return type == at::kFloat ? "float32" : type == at::kHalf ? "float16" : "bfloat16";
}

// Loads everything once, mapped, so that nothing is written of a model that does not fit.
void check_source(const std::shared_ptr<const TensorFile>& weights, const Blip2Config& config,
                  const LanguageWeights& language) {
  load_bridge(weights, config, /*trainable=*/false);
  load_image_encoder(weights, config.vision, kVisionPrefix, stored_type(*weights, kVisionPrefix),
                     /*trainable=*/false, MatrixForm::blocks);
  if (!config.language) return;
  const bool t5 = std::holds_alternative<T5Config>(*config.language);
  const at::ScalarType stored = stored_type(*language.file, language.prefix);
  load_frozen_language(language.file, *config.language,
                       t5 && stored == at::kHalf ? at::kFloat : stored, language.prefix,
                       MatrixForm::blocks);
}

void refuse_half_t5(const Blip2Config& config, std::optional<at::ScalarType> weights,
                    const fs::path& source) {
  if (weights != at::kHalf || !config.language) return;
  if (!std::holds_alternative<T5Config>(*config.language)) return;
  throw Error("T5 is not kept in f16: its activations overflow that type and become NaN",
              source.string(), "ask for bf16 or f32");
}

void refuse_gguf(const fs::path& source) {
  if (!fs::exists(source / kLanguageGguf)) return;
  throw Error("transformers' class does not keep a GGUF file", (source / kLanguageGguf).string(),
              "one of the program's own layout converts to --own-layout with --weights bf16 first");
}

// What converts with --weights: the parts that are frozen, and the projection between them.
bool follows_precision(const std::string& name) {
  if (name.starts_with("vision_model.post_layernorm.")) return false;
  return name.starts_with(kVisionPrefix) || name.starts_with(kLanguagePrefix) ||
         name.starts_with("language_projection.");
}

// Our name of a tensor as transformers' class has it; empty for what it does not have.
std::string transformers_name(const std::string& own, const Blip2Config& target) {
  const bool text = target.layout != ModelLayout::blip2;
  if (own.starts_with("cls.") || own == "temperature") return {};
  if (own.starts_with("qformer.embeddings.") && !text) return {};
  const auto in_layer = [&](const char* part) {
    return own.starts_with("qformer.encoder.layer.") && own.find(part) != std::string::npos;
  };
  const bool text_side =
      in_layer(".intermediate.") || (in_layer(".output.") && !in_layer("attention.output."));
  if (text_side && !text) return {};
  return bridge_tensor_name(target.layout, own);
}

bool is_word_table(const std::string& name) {
  for (const char* end : {"embed_tokens.weight", "wte.weight", "shared.weight", "lm_head.weight"}) {
    if (name.starts_with(kLanguagePrefix) && name.ends_with(end)) return true;
  }
  return false;
}

// A row that stands for <image> where the embeddings have none to spare: a copy of a token's that
// is never generated, so that the head's new logit is never the best.
at::Tensor with_image_row(const at::Tensor& table, std::int64_t rows, std::int64_t like) {
  std::vector<at::Tensor> parts{table};
  while (rows-- > table.size(0)) parts.push_back(table.narrow(0, like, 1));
  return at::cat(parts);
}

struct Plan {
  Blip2Config target;
  std::int64_t vocabulary = 0, like = 0;  // of the word tables in the target
};

// The token least likely to be generated among those that every tokenizer of a kind has.
std::int64_t quiet_token(const Tokenizer& tokenizer, const LanguageConfig& language) {
  const auto& ends = end_tokens(language);
  const SpecialTokens special = tokenizer.special();
  for (const auto& id : {special.unk, special.pad, special.bos}) {
    if (id && std::find(ends.begin(), ends.end(), *id) == ends.end()) return *id;
  }
  return vocabulary_of(language) - 1;
}

// The target's configuration and its language tokenizer, <image> added.
Plan plan_target(const Blip2Config& own, ModelLayout layout, const fs::path& source,
                 const fs::path& folder) {
  Plan plan{own, 0, 0};
  plan.target.layout = layout;
  plan.target.qformer.use_qformer_text_input = layout != ModelLayout::blip2;
  if (!own.language) return plan;
  const auto tokenizer = load_tokenizer(source);
  plan.like = quiet_token(*tokenizer, *own.language);
  plan.target.image_token = tokenizer->add_token(kImageToken);
  tokenizer->save(folder);
  plan.vocabulary =
      std::max<std::int64_t>(vocabulary_of(*own.language), plan.target.image_token + 1);
  std::visit([&](auto& language) { language.vocab_size = plan.vocabulary; }, *plan.target.language);
  return plan;
}

void write_json(const fs::path& path, const json& object) {
  write_file(path, object.dump(2) + "\n");
}

void write_processor(const Plan& plan, const fs::path& source, const fs::path& folder) {
  const bool instructs = plan.target.layout == ModelLayout::instructblip;
  Preprocessing preprocessing = load_preprocessing(preprocessing_file(source));
  preprocessing.image_processor_type = "BlipImageProcessor";
  save_preprocessing(preprocessing, folder / "preprocessor_config.json");
  json processor{{"processor_class", instructs ? "InstructBlipProcessor" : "Blip2Processor"}};
  if (plan.target.language) processor["num_query_tokens"] = plan.target.num_query_tokens;
  write_json(folder / "processor_config.json", processor);
  const bool alone = plan.target.layout == ModelLayout::retrieval;
  if (!alone && !instructs) return;
  const fs::path place = alone ? folder : folder / kQFormerTokenizer;
  fs::create_directories(place);
  load_tokenizer(qformer_tokenizer_folder(source))->save(place);
}

// transformers' `generate` asks text_config alone which tokens end a text.
void end_as_source(Blip2Config& config, const fs::path& source) {
  if (!config.language) return;
  const std::vector<std::int32_t> ends = text_ends(source, config, *load_tokenizer(source));
  std::visit([&](auto& language) { language.eos_token_id = ends; }, *config.language);
}

// A model of our own as transformers' class.
void convert_to_transformers(const TensorFile& weights, const Blip2Config& own, ModelLayout layout,
                             const fs::path& source, const fs::path& folder,
                             std::optional<at::ScalarType> type, const LoraAdapters* merged) {
  const Plan plan = plan_target(own, layout, source, folder);
  std::vector<WrittenTensor> tensors;
  for (const TensorView& view : weights.tensors()) {
    const std::string name = transformers_name(view.name, plan.target);
    if (name.empty()) continue;
    WrittenTensor tensor{name, &view, view.dtype, view.shape, {}};
    if (type && follows_precision(name)) tensor.dtype = dtype_of(*type);
    if (is_word_table(name) && view.shape[0] < plan.vocabulary) {
      tensor.shape[0] = plan.vocabulary;
      tensor.change = [rows = plan.vocabulary, like = plan.like](const at::Tensor& table) {
        return with_image_row(table, rows, like);
      };
    }
    merge_lora_into(tensor, merged);
    tensors.push_back(std::move(tensor));
  }
  write_weights(weights, tensors, folder);
  write_processor(plan, source, folder);
  if (plan.target.language) {
    write_converted_generation_config(source, *plan.target.language, folder);
  }
  json config = write_blip2_config(plan.target);
  config["dtype"] = type_name(type.value_or(stored_type(weights, kVisionPrefix)));
  write_json(folder / "config.json", config);
}

bool is_weight_file(const std::string& name) {
  return name.ends_with(".safetensors") || name.ends_with(".bin") ||
         name.ends_with(".index.json") || name == kLanguageGguf || is_lora_file(name);
}

void copy_other_files(const fs::path& source, const fs::path& folder) {
  constexpr std::uintmax_t kMostBytes = 256u << 20;
  for (const auto& entry : fs::directory_iterator(source)) {
    const std::string name = entry.path().filename().string();
    if (entry.is_directory() && name == kQFormerTokenizer) {
      fs::create_directories(folder / name);
      copy_other_files(entry.path(), folder / name);
    } else if (entry.is_regular_file() && !is_weight_file(name) && !name.starts_with(".") &&
               !is_temporary(name) && name != "config.json" && entry.file_size() <= kMostBytes) {
      write_copy(entry.path(), folder / name);
    }
  }
}

// Buffers of earlier versions of transformers and copies of the embeddings.
bool is_spare(const std::string& name, const Blip2Config& config) {
  if (is_old_buffer(name)) return true;
  return config.language && name.starts_with(kLanguagePrefix) &&
         matches_any(name.substr(std::string_view(kLanguagePrefix).size()),
                     spare_tensors(*config.language));
}

// Copies a directory in its own layout, with its files as they are.
void copy_model(const TensorFile& weights, const Blip2Config& own, const fs::path& source,
                const fs::path& folder, std::optional<at::ScalarType> type, bool with_language,
                const LoraAdapters* merged) {
  const EmbeddingsName words =
      own.language ? embeddings_name(*own.language, weights, kLanguagePrefix) : EmbeddingsName{};
  std::vector<WrittenTensor> tensors;
  for (const TensorView& view : weights.tensors()) {
    if (!with_language && view.name.starts_with(kLanguagePrefix)) continue;
    const bool embeddings = view.name == kLanguagePrefix + words.stored;
    if (!embeddings && is_spare(view.name, own)) continue;
    const std::string name = embeddings ? kLanguagePrefix + words.usual : view.name;
    WrittenTensor tensor{name, &view, view.dtype, view.shape, {}};
    if (type && follows_precision(view.name) && is_floating(view.dtype)) {
      tensor.dtype = dtype_of(*type);
    }
    merge_lora_into(tensor, merged);
    tensors.push_back(std::move(tensor));
  }
  write_weights(weights, tensors, folder);
  copy_other_files(source, folder);
  const fs::path kept = source / kLanguageGguf;
  if (with_language && fs::exists(kept)) link_file(kept, folder / kLanguageGguf);
  json config = read_json(source / "config.json");
  if (type && config.contains("torch_dtype")) config["torch_dtype"] = type_name(*type);
  if (type && config.contains("dtype")) config["dtype"] = type_name(*type);
  write_json(folder / "config.json", config);
}

// One part's file of a directory in this program's layout.
void write_part(const TensorFile& weights, std::optional<at::ScalarType> type, const fs::path& path,
                const std::function<bool(const std::string&)>& belongs,
                const LoraAdapters* merged = nullptr) {
  std::vector<WrittenTensor> tensors;
  for (const TensorView& view : weights.tensors()) {
    if (!belongs(view.name)) continue;
    WrittenTensor tensor{view.name, &view, view.dtype, view.shape, {}};
    if (type && is_floating(view.dtype)) tensor.dtype = dtype_of(*type);
    merge_lora_into(tensor, merged);
    tensors.push_back(std::move(tensor));
  }
  write_weight_file(weights, tensors, path);
}

bool is_language(const std::string& name) {
  return name.starts_with(kLanguagePrefix);
}

// The language model of a GGUF file under Hugging Face's names.
void write_widened(const LanguageWeights& weights, const LanguageConfig& config,
                   at::ScalarType type, const fs::path& folder, const LoraAdapters* merged) {
  std::vector<TensorView> views;
  const auto write = [&](std::vector<std::pair<std::string, at::Tensor>> tensors) {
    for (auto& [name, tensor] : tensors) {
      if (merged) tensor = merged->merged(name, tensor).to(type).contiguous();
      views.push_back(view_of(kLanguagePrefix + name, tensor));
    }
    write_safetensors(folder / kLanguageFile, views, {{"format", "pt"}});
  };
  if (const auto* decoder = std::get_if<DecoderConfig>(&config)) {
    return write(load_language_model(weights.file, *decoder, type)->tensors());
  }
  const auto t5 = load_t5_weights(weights.file, std::get<T5Config>(config), type);
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  for (const TensorSlot& slot : t5_tensors(*t5)) tensors.emplace_back(slot.name, slot.tensor());
  write(std::move(tensors));
}

// A directory in this program's layout, one file a part; the convolutional encoder stays f32.
void copy_own(const std::shared_ptr<const TensorFile>& weights, const Blip2Config& config,
              const LanguageWeights& language, const fs::path& source, const fs::path& folder,
              std::optional<at::ScalarType> type, bool with_language, const LoraAdapters* merged) {
  link_frozen_parts(source, folder, /*with_language=*/!type && with_language && !merged);
  if (config.language && type && is_gguf(*language.file)) {
    write_widened(language, *config.language, *type, folder, merged);
  } else if (config.language && (type || (merged && with_language))) {
    write_part(*weights, type, folder / kLanguageFile, is_language, merged);
  }
  save_bridge(*load_bridge(weights, config, /*trainable=*/false), folder);
  if (fs::exists(source / kGenerationConfig)) {
    write_copy(source / kGenerationConfig, folder / kGenerationConfig);
  }
  write_weight_index(folder);
}

void write_own(const TensorFile& weights, const Blip2Config& config, const fs::path& texts,
               const fs::path& folder, std::optional<at::ScalarType> type) {
  const auto vision = [](const std::string& name) { return name.starts_with(kVisionPrefix); };
  write_part(weights, type, folder / kVisionFile, vision);
  if (config.language) write_part(weights, type, folder / kLanguageFile, is_language);
  write_part(weights, std::nullopt, folder / kBridgeFile,
             [&](const std::string& name) { return !vision(name) && !is_language(name); });
  copy_other_files(texts, folder);
  if (config.language) write_converted_generation_config(texts, *config.language, folder);
  write_json(folder / "config.json", write_blip2_config(config));
  write_weight_index(folder);
}

}  // namespace

void write_model(const std::shared_ptr<const TensorFile>& weights, const Blip2Config& config,
                 const fs::path& texts, const fs::path& folder, std::optional<at::ScalarType> type,
                 bool own_layout) {
  refuse_half_t5(config, type, weights->path());
  check_tokenizers(config, texts);
  check_source(weights, config, {weights, kLanguagePrefix});
  NewModelFolder made(folder);
  made.make();
  const auto layout = own_layout ? std::nullopt : transformers_layout(config);
  if (layout) {
    log_info("written as transformers' {}", architecture_of(*layout));
    convert_to_transformers(*weights, config, *layout, texts, folder, type, nullptr);
  } else {
    write_own(*weights, config, texts, folder, type);
  }
  made.finish();
}

std::optional<ModelLayout> transformers_layout(const Blip2Config& config) {
  const auto* vit = std::get_if<VitConfig>(&config.vision);
  if (vit == nullptr || !vit->is_eva()) return std::nullopt;
  if (config.qformer.reads_language()) return std::nullopt;
  if (config.language && config.stage1_heads) return std::nullopt;
  if (!config.language) return ModelLayout::retrieval;
  return config.reads_prompt ? ModelLayout::instructblip : ModelLayout::blip2;
}

void convert_model(const fs::path& source, const fs::path& folder,
                   std::optional<at::ScalarType> weights, bool own_layout,
                   std::optional<DType> blocks, bool merge_lora) {
  Blip2Config config = read_blip2_config(source / "config.json");
  const std::shared_ptr<const TensorFile> file = open_model_weights(source);
  refuse_half_t5(config, weights, source);
  check_tokenizers(config, source);
  const LanguageWeights language = language_weights(source, file, config.language);
  check_source(file, config, language);
  if (config.layout != ModelLayout::own && weights) refuse_gguf(source);
  const bool quantised = blocks && config.language;
  const bool kept_blocks = !weights && has_blocks(*file, kVisionPrefix);
  const bool as_it_is = own_layout || blocks || kept_blocks || config.layout != ModelLayout::own;
  const auto layout = as_it_is ? std::nullopt : transformers_layout(config);
  if (layout) refuse_gguf(source);
  const auto merged = adapters_to_merge(source, config, language,
                                        {.merge = merge_lora,
                                         .becomes_transformers = layout.has_value(),
                                         .keeps_blocks = !weights && !quantised});
  NewModelFolder made(folder);
  made.make();
  if (config.layout != ModelLayout::own) {
    copy_model(*file, config, source, folder, weights, !quantised, merged.get());
  } else if (layout) {
    log_info("written as transformers' {}", architecture_of(*layout));
    end_as_source(config, source);
    convert_to_transformers(*file, config, *layout, source, folder, weights, merged.get());
  } else {
    copy_own(file, config, language, source, folder, weights, !quantised, merged.get());
  }
  if (quantised) {
    write_quantised_language(language, *config.language, *blocks, folder, merged.get());
  }
  if (!merged) link_lora(source, folder);
  if (config.layout == ModelLayout::own && !config.stage1_heads) {
    keep_stage1(source, folder / kStage1Folder);
  }
  made.finish();
}

}  // namespace blip2
