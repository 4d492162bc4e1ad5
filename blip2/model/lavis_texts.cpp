#include "blip2/model/lavis_texts_internal.h"

#include <fmt/format.h>
#include <stdlib.h>

#include <nlohmann/json.hpp>
#include <system_error>
#include <variant>

#include "blip2/base/error.h"
#include "blip2/base/file.h"
#include "blip2/image/transform.h"
#include "blip2/io/json.h"
#include "blip2/model/directory.h"
#include "blip2/text/tokenizer.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr char kStart[] = "<s>", kEnd[] = "</s>";

// LAVIS encodes pictures 224 and 364 pixels wide alike: as CLIP does, the aspect not kept.
void write_preprocessing(const VisionConfig& config, const fs::path& folder) {
  Preprocessing preprocessing;
  const auto& vit = std::get<VitConfig>(config);
  preprocessing.width = preprocessing.height = static_cast<int>(vit.image_size);
  save_preprocessing(preprocessing, folder / "preprocessor_config.json");
}

void write_words(const LavisCheckpoint& checkpoint, const LavisParts& parts,
                 const fs::path& folder) {
  if (parts.text_encoder.empty()) {
    throw Error("the checkpoint does not have the words that its Q-Former reads", parts.checkpoint,
                "give with --text-encoder a directory with bert-base-uncased's vocab.txt or "
                "tokenizer.json");
  }
  const auto words = load_tokenizer(parts.text_encoder);
  words->add_token("[DEC]");
  if (words->size() != checkpoint.qformer.vocab_size) {
    throw Error(fmt::format("expected {} words, [DEC] included, got {}",
                            checkpoint.qformer.vocab_size, words->size()),
                parts.text_encoder, "they are not those that the Q-Former was trained with");
  }
  fs::create_directories(folder);
  words->save(folder);
}

void replace_start(json& value) {
  if (value.is_string() && value == kStart) value = kEnd;
  if (value.is_array() || value.is_object()) {
    for (auto& item : value) replace_start(item);
  }
}

// LAVIS makes </s> Llama's first token: in the template that the tokenizer puts around a text.
void start_with_end(const fs::path& folder, std::int32_t end) {
  const fs::path file = folder / "tokenizer.json", config = folder / "tokenizer_config.json";
  json tokenizer = read_json(file);
  json& processor = tokenizer["post_processor"];
  replace_start(processor);
  if (processor.is_object() && processor.contains("special_tokens")) {
    processor["special_tokens"] = {{kEnd, {{"id", kEnd}, {"ids", {end}}, {"tokens", {kEnd}}}}};
  }
  write_file(file, tokenizer.dump(1) + "\n");
  json settings = read_json(config);
  settings["bos_token"] = kEnd;
  write_file(config, settings.dump(2) + "\n");
}

}  // namespace

std::string lavis_language(const std::string& projection) {
  if (projection == "opt_proj") return "the OPT that it was trained on";
  if (projection == "t5_proj") return "the FlanT5 that it was trained on";
  return "the Vicuna or Llama that it was trained on";
}

LanguageConfig lavis_language_config(const fs::path& folder) {
  const fs::path where = folder / "config.json";
  LanguageConfig config = read_language_config(read_json(where), where.string());
  if (auto* t5 = std::get_if<T5Config>(&config)) {
    t5->exact_gelu = t5->gated_gelu;
    t5->bos_token_id = t5->eos_token_id.front();
    return config;
  }
  auto& decoder = std::get<DecoderConfig>(config);
  if (decoder.family == DecoderFamily::opt) {
    const auto ids = load_tokenizer(folder)->encode("\n", /*add_special_tokens=*/false);
    if (ids.size() != 1) throw Error("a line break is not one token", folder.string());
    decoder.eos_token_id = {ids[0]};
  } else if (decoder.family == DecoderFamily::llama) {
    decoder.bos_token_id = decoder.eos_token_id.front();
  }
  return config;
}

TemporaryFolder::TemporaryFolder() {
  std::string name = (fs::temp_directory_path() / "blip2_XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) throw Error("cannot create a temporary folder", name);
  path_ = name;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

void write_lavis_texts(const LavisCheckpoint& checkpoint, const LavisParts& parts,
                       const Blip2Config& config, const fs::path& folder) {
  write_preprocessing(config.vision, folder);
  if (config.qformer.use_qformer_text_input) {
    write_words(checkpoint, parts, folder / kQFormerTokenizer);
  }
  if (!config.language) return;
  load_tokenizer(parts.language_model)->save(folder);
  const auto* decoder = std::get_if<DecoderConfig>(&*config.language);
  if (decoder && decoder->family == DecoderFamily::llama) {
    start_with_end(folder, decoder->eos_token_id.front());
  }
}

}  // namespace blip2
