#include "blip2/retrieval/index_identity.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <vector>

#include "blip2/base/content_hash.h"
#include "blip2/base/error.h"
#include "blip2/base/file.h"
#include "blip2/io/json.h"
#include "blip2/io/tensor_file.h"
#include "blip2/model/config.h"
#include "blip2/model/directory.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;

fs::path folder_of(const fs::path& model) {
  if (const auto found = stage1_folder(model)) return *found;
  throw Error("the model has no stage-1 heads and keeps no stage-1 model", model.string(),
              "an index needs a model that stage 1 trained");
}

// A line for each tensor that is not the language model's, in the order of their names.
std::string describe_weights(const fs::path& folder) {
  const auto weights = open_model_weights(folder);
  std::set<std::string> lines;
  for (const TensorView& tensor : weights->tensors()) {
    if (tensor.name.starts_with(kLanguagePrefix)) continue;
    std::string shape;
    for (const std::int64_t side : tensor.shape) shape += fmt::format(" {}", side);
    lines.insert(fmt::format("{} {}{} {}\n", tensor.name, dtype_name(tensor.dtype), shape,
                             content_hash(tensor.data).hex()));
  }
  std::string text;
  for (const std::string& line : lines) text += line;
  return text;
}

std::string describe_config(const fs::path& folder, const Blip2Config& config) {
  const nlohmann::json file = read_json(folder / "config.json");
  nlohmann::json parts{{"queries", config.num_query_tokens},
                       {"width", config.image_text_hidden_size},
                       {"feature_norm_eps", config.feature_norm_eps}};
  for (const char* part : {"vision_config", "qformer_config"}) {
    if (file.contains(part)) parts[part] = file[part];
  }
  return parts.dump();
}

std::string describe_tokenizer(const fs::path& folder) {
  std::string text;
  for (const char* name : {"tokenizer.json", "tokenizer_config.json", "vocab.txt"}) {
    const fs::path file = folder / name;
    if (!fs::is_regular_file(file)) continue;
    text += fmt::format("{} {}\n", name, content_hash(MappedFile::open(file)->bytes()).hex());
  }
  return text;
}

std::string describe_preprocessing(const Preprocessing& p) {
  const nlohmann::json parts{
      {"size", {p.width, p.height, p.resize_width, p.resize_height, p.shortest_edge}},
      {"patches", {p.max_num_patches, p.patch_size}},
      {"filter", static_cast<int>(p.filter)},
      {"floats", p.resizes_floats},
      {"rescale_factor", p.rescale_factor},
      {"normalised", p.normalised},
      {"mean", p.mean},
      {"std", p.std},
      {"processor", static_cast<int>(p.processor)},
      {"sixteen_bit", static_cast<int>(p.sixteen_bit)}};
  return parts.dump();
}

}  // namespace

IndexIdentity index_identity(const fs::path& model, const PictureChoices& pictures) {
  const fs::path folder = folder_of(model);
  const Blip2Config config = read_blip2_config(folder / "config.json");
  const Preprocessing preprocessing =
      with_choices(load_preprocessing(preprocessing_file(folder)), pictures);
  const std::string text =
      describe_config(folder, config) + "\n" + describe_preprocessing(preprocessing) + "\n" +
      describe_tokenizer(qformer_tokenizer_folder(folder)) + describe_weights(folder);
  return {content_hash(std::as_bytes(std::span(text))).hex(),
          fs::canonical(model).string(),
          {config.num_query_tokens, config.image_text_hidden_size}};
}

}  // namespace blip2
