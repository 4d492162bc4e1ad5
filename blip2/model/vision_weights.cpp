#include "blip2/model/vision_weights.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "blip2/base/error.h"
#include "blip2/io/json.h"
#include "blip2/io/safetensors.h"
#include "blip2/model/config.h"
#include "blip2/model/directory.h"
#include "blip2/model/weight_writer_internal.h"
#include "blip2/vision/image_encoders.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;

constexpr char kWhole[] = "model.safetensors", kIndex[] = "model.safetensors.index.json";

const VitConfig& transformer_of(const Blip2Config& config, const fs::path& folder) {
  if (const auto* vit = std::get_if<VitConfig>(&config.vision)) return *vit;
  const auto kind = write_vision_config(config.vision).value("model_type", "another encoder");
  throw Error(fmt::format("{} is no vision transformer", kind), folder.string(),
              "--vision-weights is for these; the weights of other encoders stay as they are");
}

// The files of a directory's weights, which are all safetensors.
std::vector<std::string> weight_files(const fs::path& folder) {
  if (!fs::exists(folder / kIndex)) return {kWhole};
  const auto index = read_json(folder / kIndex);
  std::set<std::string> names;
  for (const auto& [name, file] : index.at("weight_map").items()) {
    names.insert(file.get<std::string>());
  }
  return {names.begin(), names.end()};
}

// The type of the encoder's tensors, by their names in a directory.
class TypeChoice {
 public:
  TypeChoice(const VitConfig& config, DType type) : type_(type) {
    for (const std::string& name : matrix_names(config)) matrices_.insert(kVisionPrefix + name);
  }
  DType operator()(const TensorView& view) const {
    const bool bridge = view.name.starts_with("vision_model.post_layernorm.");  // trained with it
    if (!view.name.starts_with(kVisionPrefix) || bridge || !is_floating(view.dtype)) {
      return view.dtype;
    }
    if (!is_quantised(type_)) return type_;
    return matrices_.contains(view.name) && tensor_bytes(type_, view.shape) ? type_ : view.dtype;
  }

 private:
  DType type_;
  std::set<std::string> matrices_;
};

// Whether something changes.
bool rewrite(const fs::path& path, const TypeChoice& choose) {
  const auto file = open_safetensors(path);
  std::vector<WrittenTensor> tensors;
  bool changes = false;
  for (const TensorView& view : file->tensors()) {
    tensors.push_back({view.name, &view, choose(view), view.shape, {}});
    changes = changes || tensors.back().dtype != view.dtype;
  }
  if (!changes) return false;
  try {
    write_weight_file(*file, tensors, path);
  } catch (const Error& error) {
    if (error.where().starts_with(path.string())) throw;
    throw error.within(path.string());
  }
  return true;
}

void convert_place(const fs::path& folder, DType type) {
  const Blip2Config config = read_blip2_config(folder / "config.json");
  const TypeChoice choose(transformer_of(config, folder), type);
  const std::vector<std::string> files = weight_files(folder);
  bool changed = false;
  for (const std::string& file : files) changed = rewrite(folder / file, choose) || changed;
  if (changed && fs::exists(folder / kIndex)) write_weight_index(folder, files);
}

}  // namespace

void convert_vision(const fs::path& folder, DType type) {
  const fs::path stage1 = folder / kStage1Folder, own = folder / kVisionFile;
  const bool kept = fs::exists(stage1 / "config.json");
  std::error_code ignored;
  const bool shared = kept && fs::equivalent(own, stage1 / kVisionFile, ignored);
  try {
    convert_place(folder, type);
    if (shared) link_file(own, stage1 / kVisionFile);
    if (shared) write_weight_index(stage1);
    if (kept && !shared) convert_place(stage1, type);
  } catch (...) {
    fs::remove(folder / "config.json", ignored);
    throw;
  }
}

}  // namespace blip2
