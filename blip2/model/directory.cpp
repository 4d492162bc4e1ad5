#include "blip2/model/directory.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <system_error>

#include "blip2/base/error.h"
#include "blip2/base/file.h"
#include "blip2/base/random.h"
#include "blip2/io/gguf.h"
#include "blip2/io/safetensors.h"
#include "blip2/language/lora_files.h"
#include "blip2/model/language_side.h"
#include "blip2/nn/adopt.h"
#include "blip2/nn/tensor_bridge.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;

// Tensors of transformers' classes that no member of the bridge has: the text side of a Q-Former
// that reads no text.
constexpr const char* kNoMembers[] = {"qformer.encoder.layer.*.intermediate.*",
                                      "qformer.encoder.layer.*.output.*"};
// Those of the heads of stage 1.
constexpr const char* kHeads[] = {"vision_projection.*", "text_projection.*", "itm_head.*", "cls.*",
                                  "temperature"};

// What a bridge has for a language model's states alone.
std::vector<std::string> language_read_names() {
  return {"ln_language.*", "qformer.encoder.layer.*.language_key.*",
          "qformer.encoder.layer.*.language_value.*"};
}

void start_language_reads(Bridge& bridge, std::uint64_t seed) {
  const at::NoGradGuard no_grad;
  const auto names = language_read_names();
  std::uint64_t index = 0;
  for (auto& parameter : bridge.named_parameters()) {
    at::Tensor& value = parameter.value();
    if (!matches_any(parameter.key(), names)) continue;
    value.set_data(at::empty(value.sizes()));
    if (value.dim() > 1) {
      fill_normal(value, bridge.config().qformer.initializer_range, derive_seed(seed, index));
    } else {
      value.fill_(parameter.key().ends_with("bias") ? 0 : 1);
    }
    ++index;
  }
}

// The name with `to` instead of `from` at its beginning, if it begins so.
bool replace_front(std::string& name, std::string_view from, std::string_view to) {
  if (!name.starts_with(from)) return false;
  name.replace(0, from.size(), to);
  return true;
}

bool is_language_text(const std::string& name) {
  return name.starts_with("tokenizer") || name.starts_with("chat_template");
}

void link_folder(const fs::path& from, const fs::path& to) {
  fs::create_directories(to);
  for (const auto& entry : fs::directory_iterator(from)) {
    if (entry.is_regular_file()) link_file(entry.path(), to / entry.path().filename());
  }
}

bool is_language_weights(const std::string& name) {
  return name == kLanguageFile || name == kLanguageGguf || is_lora_file(name);
}

// Weights that a conversion which did not end has left would be taken for the new model's.
void remove_leftovers(const fs::path& folder, std::error_code& error) {
  constexpr std::array<std::string_view, 8> weights{
      kVisionFile,         kLanguageFile,
      kLanguageGguf,       kBridgeFile,
      "model.safetensors", "model.safetensors.index.json",
      kLoraConfigFile,     kLoraFile};
  std::vector<fs::path> left;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    const bool known = std::find(weights.begin(), weights.end(), name) != weights.end();
    if (known || is_temporary(name)) left.push_back(entry.path());
  }
  for (const fs::path& path : left) {
    if (!error) fs::remove(path, error);
  }
}

void require_new_model(const fs::path& folder) {
  if (folder.empty()) throw Error("expected a folder, got an empty name", "the model to write");
  if (fs::exists(folder / "config.json")) {
    throw Error("the folder already holds a model", folder.string(), "choose another one");
  }
  if (fs::exists(folder / kStage1Folder)) {
    throw Error("the folder would be taken for the stage-1 model of the new one",
                (folder / kStage1Folder).string(), "choose another folder for the new model");
  }
}

}  // namespace

void link_file(const fs::path& from, const fs::path& to) {
  std::error_code error;
  fs::remove(to, error);
  fs::create_hard_link(from, to, error);
  if (error) write_copy(from, to);
}

void check_ids(std::span<const std::int32_t> ids, std::int64_t embeddings) {
  for (const std::int32_t id : ids) {
    if (id < embeddings) continue;
    throw Error(fmt::format("the text holds the token {}, the model has {} word embeddings", id,
                            embeddings),
                "text", "it names a special token that is not for texts");
  }
}

NewModelFolder::NewModelFolder(fs::path path)
    : folder_(std::move(path)), entries_(folder_), words_(folder_ / kQFormerTokenizer) {
  require_new_model(folder_);
}

void NewModelFolder::make() const {
  std::error_code error;
  fs::create_directories(folder_, error);
  if (!error) remove_leftovers(folder_, error);
  if (error) throw Error("cannot create folder: " + error.message(), folder_.string());
}

void NewModelFolder::finish() {
  words_.keep();
  entries_.keep();
}

std::string bridge_tensor_name(ModelLayout layout, const std::string& member) {
  std::string name = member;
  if (replace_front(name, "heads.", "") || layout == ModelLayout::own) return name;
  if (replace_front(name, "ln_vision.", "vision_model.post_layernorm.")) return name;
  if (layout == ModelLayout::retrieval) {
    replace_front(name, "qformer.embeddings.", "embeddings.");
  } else if (layout == ModelLayout::instructblip) {
    replace_front(name, "qformer.layernorm.", "qformer.embeddings.layernorm.");
  }
  return name;
}

fs::path qformer_tokenizer_folder(const fs::path& folder) {
  const fs::path own = folder / kQFormerTokenizer;
  if (fs::is_directory(own)) return own;
  const bool alone = read_blip2_config(folder / "config.json").layout == ModelLayout::retrieval;
  return alone ? folder : own;
}

at::ScalarType stored_type(const TensorFile& weights, const std::string& prefix) {
  for (const TensorView& tensor : weights.tensors()) {
    if (!tensor.name.starts_with(prefix) || is_quantised(tensor.dtype)) continue;
    const auto type = scalar_type_of(tensor.dtype);
    return type == at::kBFloat16 || type == at::kHalf ? *type : at::kFloat;
  }
  return at::kFloat;
}

void check_vocabulary(const Tokenizer& tokenizer, std::int64_t embeddings, const fs::path& where) {
  constexpr std::int64_t kMostUnused = 1024;  // embeddings are padded to round numbers
  // <image>, which processors add, stands for soft prompts and needs no embedding.
  const bool image_last = tokenizer.id("<image>") == tokenizer.size() - 1;
  const std::int64_t ids = tokenizer.size() - (image_last ? 1 : 0);
  if (ids <= embeddings && embeddings - ids <= kMostUnused) return;
  throw Error(
      fmt::format("the tokenizer has {} ids, the model {} word embeddings", ids, embeddings),
      where.string(), "they do not belong together");
}

void check_tokenizers(const Blip2Config& config, const fs::path& folder) {
  if (config.language) {
    check_vocabulary(*load_tokenizer(folder), vocabulary_of(*config.language), folder);
  }
  if (!config.reads_prompt && !config.stage1_heads) return;
  const fs::path words = qformer_tokenizer_folder(folder);
  check_vocabulary(*load_tokenizer(words), config.qformer.vocab_size, words);
}

std::vector<std::pair<std::string, at::Tensor>> bridge_tensors(const Bridge& bridge) {
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  for (const auto& item : bridge.named_parameters()) {
    tensors.emplace_back(bridge_tensor_name(ModelLayout::own, item.key()), item.value());
  }
  return tensors;
}

std::shared_ptr<Bridge> load_bridge(std::shared_ptr<const TensorFile> weights,
                                    const Blip2Config& config, bool trainable,
                                    std::optional<std::uint64_t> language_reads) {
  const c10::InferenceMode no_inference(false);
  auto bridge = std::make_shared<Bridge>(config, std::nullopt);
  for (at::Tensor& parameter : bridge->parameters()) parameter.requires_grad_(trainable);
  std::vector<TensorSlot> slots = slots_of(*bridge);
  for (TensorSlot& slot : slots) slot.name = bridge_tensor_name(config.layout, slot.name);
  AdoptOptions options{
      .part = "Q-Former",
      .own = trainable,
      .ignored = {std::string(kVisionPrefix) + "*", std::string(kLanguagePrefix) + "*"}};
  const auto ignore = [&](const auto& names) {
    options.ignored.insert(options.ignored.end(), std::begin(names), std::end(names));
  };
  // A model may be read for one of its stages alone.
  if (!config.stage1_heads) ignore(kHeads);
  if (!config.language) options.ignored.emplace_back("language_projection.*");
  if (config.layout != ModelLayout::own) {
    ignore(kNoMembers);
    options.optional = {"cls.*", "temperature"};
  }
  if (language_reads) options.optional = language_read_names();
  adopt(weights, slots, options);
  if (language_reads) start_language_reads(*bridge, *language_reads);
  return bridge;
}

void save_bridge(const Bridge& bridge, const fs::path& folder) {
  std::vector<at::Tensor> keep;
  std::vector<TensorView> views;
  for (const auto& [name, tensor] : bridge_tensors(bridge)) {
    keep.push_back(tensor.detach().to(at::kCPU).contiguous());
    views.push_back(view_of(name, keep.back()));
  }
  write_safetensors(folder / kBridgeFile, views, {{"format", "pt"}});
  write_file(folder / "config.json", write_blip2_config(bridge.config()).dump(2) + "\n");
}

void link_language(const fs::path& source, const fs::path& folder) {
  for (const auto& entry : fs::directory_iterator(source)) {
    const std::string name = entry.path().filename().string();
    if (!entry.is_regular_file() || !(is_language_weights(name) || is_language_text(name)))
      continue;
    link_file(entry.path(), folder / name);
  }
}

void link_lora(const fs::path& source, const fs::path& folder) {
  for (const char* name : {kLoraConfigFile, kLoraFile}) {
    if (fs::exists(source / name)) link_file(source / name, folder / name);
  }
}

void link_frozen_parts(const fs::path& source, const fs::path& folder, bool with_language) {
  fs::create_directories(folder);
  for (const auto& entry : fs::directory_iterator(source)) {
    const std::string name = entry.path().filename().string();
    const bool own =
        name == kBridgeFile || name == "config.json" || name == "model.safetensors.index.json";
    if (!entry.is_regular_file() || own || (is_language_weights(name) && !with_language)) continue;
    const bool part = name == kVisionFile || is_language_weights(name);
    const bool text = name == "preprocessor_config.json" || is_language_text(name);
    if (part || text) link_file(entry.path(), folder / name);
  }
  link_folder(source / kQFormerTokenizer, folder / kQFormerTokenizer);
}

std::optional<fs::path> stage1_folder(const fs::path& folder) {
  if (read_blip2_config(folder / "config.json").stage1_heads) return folder;
  const fs::path kept = folder / kStage1Folder;
  if (fs::exists(kept / "config.json")) return kept;
  return std::nullopt;
}

void keep_stage1(const fs::path& source, const fs::path& folder) {
  const auto stage1 = stage1_folder(source);
  if (!stage1) return;
  Blip2Config config = read_blip2_config(*stage1 / "config.json");
  config.language.reset();
  link_frozen_parts(*stage1, folder, /*with_language=*/false);
  link_file(*stage1 / kBridgeFile, folder / kBridgeFile);
  write_file(folder / "config.json", write_blip2_config(config).dump(2) + "\n");
  write_weight_index(folder);
}

void write_weight_index(const fs::path& folder, const std::vector<std::string>& files) {
  nlohmann::json map = nlohmann::json::object();
  std::int64_t bytes = 0;
  for (const std::string& name : files) {
    if (!fs::exists(folder / name)) continue;
    const auto file = open_safetensors(folder / name);
    for (const TensorView& tensor : file->tensors()) {
      map[file->stored_name(tensor.name)] = name;
      bytes += static_cast<std::int64_t>(tensor.data.size());
    }
  }
  const nlohmann::json index{{"metadata", {{"total_size", bytes}}}, {"weight_map", std::move(map)}};
  write_file(folder / "model.safetensors.index.json", index.dump(2) + "\n");
}

}  // namespace blip2
