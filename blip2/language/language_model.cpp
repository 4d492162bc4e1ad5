#include "blip2/language/language_model.h"

#include <utility>

#include "blip2/io/gguf.h"
#include "blip2/io/json.h"
#include "blip2/io/members.h"
#include "blip2/language/decoder.h"

namespace blip2 {

at::Tensor LanguageModel::forward(const at::Tensor& embeds, std::span<const std::int64_t> lengths) {
  const std::int64_t rows = embeds.size(0), width = embeds.size(1);
  TORCH_CHECK(static_cast<std::int64_t>(lengths.size()) == rows, "one length a row is needed");
  std::vector<std::int64_t> kept, offsets = {0};
  for (std::int64_t row = 0; row < rows; ++row) {
    const std::int64_t length = lengths[static_cast<std::size_t>(row)];
    TORCH_CHECK(length >= 0 && length <= width, "length ", length, " is outside 0..", width);
    for (std::int64_t t = 0; t < length; ++t) kept.push_back(row * width + t);
    offsets.push_back(offsets.back() + length);
  }
  const at::Tensor index = at::tensor(kept, at::kLong);
  const at::Tensor flat = embeds.reshape({rows * width, -1});
  const at::Tensor hidden = forward_packed(flat.index_select(0, index), std::move(offsets));
  return at::zeros(flat.sizes(), hidden.options())
      .index_copy(0, index, hidden)
      .view(embeds.sizes());
}

std::shared_ptr<LanguageModel> load_language_model(std::shared_ptr<const TensorFile> file,
                                                   const DecoderConfig& config,
                                                   at::ScalarType dtype, const std::string& prefix,
                                                   MatrixForm form) {
  return std::make_shared<Decoder>(
      load_decoder_weights(std::move(file), config, dtype, prefix, form));
}

LanguageFiles open_language_files(const std::filesystem::path& path) {
  if (!std::filesystem::is_directory(path)) {
    std::shared_ptr<const GgufFile> file = open_gguf(path);
    DecoderConfig config = decoder_config_from_gguf(*file);
    return {std::move(config), std::move(file)};
  }
  const auto where = path / "config.json", generation = path / "generation_config.json";
  DecoderConfig config = decoder_config_from_json(read_json(where), where.string());
  if (std::filesystem::exists(generation)) {
    const nlohmann::json settings = read_json(generation);
    read_member(config.eos_token_id, settings, "eos_token_id", generation.string());
    validate(config, generation.string());
  }
  return {std::move(config), open_model_weights(path)};
}

}  // namespace blip2
