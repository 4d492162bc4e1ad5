#include "blip2/model/language_side.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "blip2/base/content_hash.h"
#include "blip2/base/error.h"
#include "blip2/io/gguf.h"
#include "blip2/language/language_gguf.h"
#include "blip2/language/lora_files.h"
#include "blip2/model/config.h"
#include "blip2/model/directory.h"
#include "blip2/model/image_side.h"
#include "blip2/nn/tensor_bridge.h"
#include "blip2/text/gguf_tokenizer.h"

namespace blip2 {
namespace {

bool has_blocks(const TensorFile& file) {
  return std::any_of(file.tensors().begin(), file.tensors().end(),
                     [](const TensorView& view) { return is_block_type(view.dtype); });
}

}  // namespace

LanguageWeights language_weights(const std::filesystem::path& folder,
                                 std::shared_ptr<const TensorFile> weights,
                                 const std::optional<LanguageConfig>& config) {
  const auto path = folder / kLanguageGguf;
  if (std::filesystem::exists(path)) return {open_gguf(path), ""};
  const auto is_language = [](const TensorView& view) {
    return view.name.starts_with(kLanguagePrefix);
  };
  const auto& views = weights->tensors();
  if (config && std::none_of(views.begin(), views.end(), is_language)) {
    throw Error(
        "expected the language model that config.json describes, the file is not there and "
        "no other weights of the directory have it",
        path.string());
  }
  return {std::move(weights), kLanguagePrefix};
}

FrozenLanguage load_language(const std::filesystem::path& folder,
                             std::shared_ptr<const TensorFile> weights,
                             const LanguageConfig& config, const std::string& precision) {
  auto [file, prefix] = language_weights(folder, std::move(weights), config);
  if (precision == "auto" && has_blocks(*file)) {
    FrozenLanguage model =
        load_frozen_language(file, config, at::kFloat, prefix, MatrixForm::blocks,
                             load_lora(folder, config, at::kFloat));
    // The system maps neighbours of pages that are read, so that some came back after their turn.
    for (const TensorView& view : file->tensors()) file->release(view);
    return model;
  }
  const at::ScalarType type = type_of_precision(precision, stored_type(*file, prefix));
  return load_frozen_language(std::move(file), config, type, prefix, MatrixForm::stored,
                              load_lora(folder, config, type));
}

std::string describe_language(const LanguageWeights& weights, const LanguageConfig& config,
                              at::ScalarType type, MatrixForm form) {
  std::string parts;
  for (const TensorView& view : weights.file->tensors()) {
    if (!view.name.starts_with(weights.prefix)) continue;
    parts += fmt::format("{} {} {} {}\n", view.name, dtype_name(view.dtype), shape_text(view.shape),
                         content_hash(view.data).hex());
    weights.file->release(view);
  }
  // The other forms hold the numbers of a matrix as they are.
  const bool rounded = form == MatrixForm::int8;
  const bool blocks = form == MatrixForm::blocks && has_blocks(*weights.file);
  return fmt::format("{} {} in {}{}", content_hash(std::as_bytes(std::span(parts))).hex(),
                     write_language_config(config).dump(), c10::toString(type),
                     rounded  ? ", int8"
                     : blocks ? ", blocks"
                              : "");
}

void write_quantised_language(const LanguageWeights& weights, const LanguageConfig& config,
                              DType type, const std::filesystem::path& folder,
                              const LoraAdapters* merged) {
  const auto count = static_cast<std::int32_t>(vocabulary_of(config));
  try {
    write_language_gguf(
        weights.file, config, weights.prefix, type, folder / kLanguageGguf,
        [&](GgufWriter& writer) { add_gguf_tokenizer(folder, count, writer); }, merged);
  } catch (...) {
    std::error_code ignored;
    std::filesystem::remove(folder / "config.json", ignored);
    throw;
  }
}

void quantise_language(const std::filesystem::path& folder, DType type) {
  const Blip2Config config = read_blip2_config(folder / "config.json");
  if (!config.language) return;
  const LanguageWeights weights =
      language_weights(folder, open_model_weights(folder), config.language);
  write_quantised_language(weights, *config.language, type, folder);
  std::filesystem::remove(folder / kLanguageFile);
  write_weight_index(folder);
}

}  // namespace blip2
