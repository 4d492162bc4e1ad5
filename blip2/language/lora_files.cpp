#include "blip2/language/lora_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <string_view>
#include <utility>

#include "blip2/base/error.h"
#include "blip2/base/file.h"
#include "blip2/io/json.h"
#include "blip2/io/members.h"
#include "blip2/io/safetensors.h"
#include "blip2/nn/tensor_bridge.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// Inside transformers' BLIP-2 classes.
constexpr std::string_view kInBlip2 = "base_model.model.language_model.";

// Keys that say where the adapters come from, or which matrices have them, as their tensors do too.
constexpr std::string_view kPassedOver[] = {
    "auto_mapping",    "base_model_name_or_path", "revision",      "inference_mode",
    "peft_version",    "fan_in_fan_out",          "eva_config",    "layers_pattern",
    "exclude_modules", "layers_to_transform",     "megatron_core", "qalora_group_size",
    "runtime_config",  "ensure_weight_tying"};
// Keys that are read below.
constexpr std::string_view kRead[] = {"peft_type",  "task_type",      "r",
                                      "lora_alpha", "lora_dropout",   "use_rslora",
                                      "bias",       "target_modules", "init_lora_weights"};

template <typename List>
bool holds(const List& list, std::string_view value) {
  return std::ranges::find(list, value) != std::ranges::end(list);
}

[[noreturn]] void refuse_kind(const json& value, const char* expected, const std::string& where) {
  throw Error(fmt::format("expected {}, got {}", expected, shown(value)), where,
              "adapters of this kind are not supported");
}

// Whether the value says that nothing is done.
bool is_off(const json& value) {
  return value.is_null() || value == false || (value.is_structured() && value.empty());
}

void require_one_of(const json& object, const char* key, std::initializer_list<json> known,
                    const char* expected, const std::string& where) {
  const json value = object.value(key, json());
  if (std::find(known.begin(), known.end(), value) == known.end()) {
    refuse_kind(value, expected, where + ": " + key);
  }
}

void require_supported(const json& object, const std::string& where) {
  if (!object.is_object()) throw Error("expected a table of keys", where);
  require_one_of(object, "peft_type", {"LORA"}, "LORA", where);
  require_one_of(object, "task_type", {nullptr, "CAUSAL_LM", "SEQ_2_SEQ_LM"},
                 "CAUSAL_LM, SEQ_2_SEQ_LM or null", where);
  require_one_of(object, "bias", {nullptr, "none"}, "none", where);
  // Others change the frozen weights too.
  require_one_of(object, "init_lora_weights",
                 {nullptr, true, false, "gaussian", "eva", "orthogonal"},
                 "true, false, gaussian, eva or orthogonal", where);
  for (const auto& [key, value] : object.items()) {
    if (holds(kPassedOver, key) || holds(kRead, key) || is_off(value)) continue;
    refuse_kind(value, "nothing", where + ": " + key);
  }
}

void require_range(double value, double low, double high, const char* key,
                   const std::string& where) {
  if (value >= low && value <= high) return;
  throw Error(fmt::format("expected a number in [{}, {}], got {}", low, high, value),
              fmt::format("{}: {}", where, key));
}

// peft's file has all of these; null is not what a missing key means.
void refuse_null(const json& object, const std::string& where) {
  for (const char* key : {"r", "lora_alpha", "lora_dropout", "use_rslora"}) {
    const auto found = object.find(key);
    if (found == object.end() || !found->is_null()) continue;
    throw Error(fmt::format("expected {}, got null",
                            key == std::string_view("use_rslora") ? "true or false" : "a number"),
                where + ": " + key);
  }
}

LoraConfig read_lora_config(const json& object, const std::string& where) {
  require_supported(object, where);
  refuse_null(object, where);
  LoraConfig config{.rank = 8, .alpha = 8};  // peft's defaults
  read_member(config.rank, object, "r", where);
  read_member(config.alpha, object, "lora_alpha", where);
  read_member(config.dropout, object, "lora_dropout", where);
  read_member(config.rslora, object, "use_rslora", where);
  require_range(static_cast<double>(config.rank), 1, 65536, "r", where);
  require_range(config.alpha, -1e6, 1e6, "lora_alpha", where);
  require_range(config.dropout, 0, 0.999, "lora_dropout", where);
  read_member(config.targets, object, "target_modules", where);
  return config;
}

// Whether the list alone says which matrices have adapters.
bool is_plain_list(const json& object) {
  const json targets = object.value("target_modules", json());
  const auto off = [&](const char* key) { return is_off(object.value(key, json())); };
  return (targets.is_array() || targets == kAllLinear) && off("exclude_modules") &&
         off("layers_to_transform");
}

// The name of a module's matrix A or B in files.
std::string tensor_name(std::string_view prefix, const LoraModule& module, char matrix) {
  return fmt::format("{}{}.lora_{}.weight", prefix, module.name, matrix);
}

// The modules that the file has a tensor of.
std::vector<LoraModule> present(const std::vector<LoraModule>& modules, const TensorFile& file,
                                std::string_view prefix) {
  std::vector<LoraModule> found;
  for (const LoraModule& module : modules) {
    const bool any =
        file.find(tensor_name(prefix, module, 'A')) || file.find(tensor_name(prefix, module, 'B'));
    if (any) found.push_back(module);
  }
  return found;
}

std::string_view prefix_of(const TensorFile& file) {
  const bool inside = std::ranges::any_of(
      file.tensors(), [](const TensorView& tensor) { return tensor.name.starts_with(kInBlip2); });
  return inside ? kInBlip2 : kPeftPrefix;
}

fs::path require_file(const fs::path& folder, const char* name, const char* other) {
  if (fs::exists(folder / name)) return folder / name;
  throw Error(fmt::format("is missing beside {}", other), (folder / name).string(),
              "adapters are these two files, as peft writes them");
}

// Error for NaN and infinity, in the file or because its numbers are too large for f16.
void require_finite(const std::vector<TensorSlot>& slots, const fs::path& path) {
  for (const TensorSlot& slot : slots) {
    if (at::isfinite(slot.tensor()).all().item<bool>()) continue;
    throw Error("expected finite numbers, got NaN or infinity", path.string() + ": " + slot.name,
                slot.tensor().scalar_type() == at::kHalf ? "f16 holds numbers up to 65504" : "");
  }
}

// What names the adapted modules and no others.
std::vector<std::string> written_targets(const LoraAdapters& adapters) {
  const std::vector<std::string>& targets = adapters.config().targets;
  if (!targets.empty() && !holds(targets, kAllLinear)) return targets;
  std::set<std::string> ends;
  for (const auto& adapter : adapters.adapters()) {
    ends.insert(adapter.module.name.substr(adapter.module.name.rfind('.') + 1));
  }
  return {ends.begin(), ends.end()};
}

}  // namespace

bool has_lora(const fs::path& folder) {
  return fs::exists(folder / kLoraConfigFile) || fs::exists(folder / kLoraFile);
}

std::shared_ptr<LoraAdapters> load_lora(const fs::path& folder, const LanguageConfig& config,
                                        at::ScalarType type, bool trained) {
  if (!has_lora(folder)) return nullptr;
  const fs::path where = require_file(folder, kLoraConfigFile, kLoraFile);
  const json object = read_json(where);
  LoraConfig lora = read_lora_config(object, where.string());
  const std::shared_ptr<const TensorFile> file =
      open_safetensors(require_file(folder, kLoraFile, kLoraConfigFile));
  const std::string_view prefix = prefix_of(*file);
  std::vector<LoraModule> modules;
  if (is_plain_list(object) && prefix == kPeftPrefix) {
    modules = lora_targets(config, lora.targets, where.string() + ": target_modules");
  } else {
    modules = present(lora_modules(config), *file, prefix);
    lora.targets.clear();
    for (const LoraModule& module : modules) lora.targets.push_back(module.name);
  }
  auto adapters = std::make_shared<LoraAdapters>(lora, modules, trained);
  std::vector<TensorSlot> slots;
  for (const auto& adapter : adapters->adapters()) {
    slots.push_back({tensor_name(prefix, adapter.module, 'A'), adapter.a, adapter.a.sizes().vec()});
    slots.push_back({tensor_name(prefix, adapter.module, 'B'), adapter.b, adapter.b.sizes().vec()});
  }
  adopt(file, slots,
        {.part = "language model's adapters", .type = trained ? at::kFloat : type, .own = trained});
  require_finite(slots, file->path());
  if (modules.empty()) throw Error("expected adapters, got no tensor", file->path().string());
  return adapters;
}

void save_lora(const LoraAdapters& adapters, const LanguageConfig& config, const fs::path& folder) {
  std::vector<at::Tensor> keep;
  std::vector<TensorView> views;
  for (const auto& [name, tensor] : adapters.tensors()) {
    keep.push_back(tensor.detach().to(at::kFloat).contiguous());
    views.push_back(view_of(name, keep.back()));
  }
  write_safetensors(folder / kLoraFile, views, {{"format", "pt"}});
  const LoraConfig& lora = adapters.config();
  const bool transposed = adapters.adapters().front().module.transposed;
  const bool t5 = std::holds_alternative<T5Config>(config);
  const json object{{"peft_type", "LORA"},
                    {"task_type", t5 ? "SEQ_2_SEQ_LM" : "CAUSAL_LM"},
                    {"base_model_name_or_path", nullptr},
                    {"inference_mode", true},
                    {"r", lora.rank},
                    {"lora_alpha", lora.alpha},
                    {"lora_dropout", lora.dropout},
                    {"use_rslora", lora.rslora},
                    {"use_dora", false},
                    {"target_modules", written_targets(adapters)},
                    {"modules_to_save", nullptr},
                    {"fan_in_fan_out", transposed},
                    {"init_lora_weights", true},
                    {"bias", "none"}};
  write_file(folder / kLoraConfigFile, object.dump(2) + "\n");
}

}  // namespace blip2
