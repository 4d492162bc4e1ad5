#include "blip2/text/tokenizer.h"

#include <algorithm>
#include <cstring>

#include "blip2/base/error.h"
#include "blip2/base/file.h"
#include "blip2/io/json.h"
#include "blip2/text/gguf_tokenizer.h"
#include "blip2/text/pipeline_tokenizer_internal.h"
#include "blip2/text/sentencepiece_internal.h"
#include "blip2/text/tokenizer_config_internal.h"
#include "blip2/text/tokenizer_json_internal.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;

bool is_there(const fs::path& path) {
  std::error_code unreadable;
  return fs::exists(path, unreadable);
}

// The JSON file's object; an empty one if there is no such file.
nlohmann::json read_optional_object(const fs::path& path) {
  if (!is_there(path)) return nlohmann::json::object();
  nlohmann::json json = read_json(path);
  if (!json.is_object()) throw Error("expected an object", path.string());
  return json;
}

// tokenizer_config.json, and below it the older special_tokens_map.json.
nlohmann::json read_config(const fs::path& folder) {
  nlohmann::json config = read_optional_object(folder / "special_tokens_map.json");
  config.update(read_optional_object(folder / "tokenizer_config.json"));
  return config;
}

TokenizerDefinition read_folder(const fs::path& folder) {
  const nlohmann::json config = read_config(folder);
  TokenizerDefinition definition;
  if (const fs::path json = folder / "tokenizer.json"; is_there(json)) {
    definition = read_tokenizer_json(read_json(json), json.string());
    apply_tokenizer_config(config, definition, (folder / "tokenizer_config.json").string());
  } else if (is_there(folder / "vocab.txt")) {
    definition = read_vocab_txt(folder / "vocab.txt", config);
  } else if (is_there(folder / "vocab.json") && is_there(folder / "merges.txt")) {
    definition = read_vocab_and_merges(folder / "vocab.json", folder / "merges.txt", config);
  } else if (is_there(folder / "spiece.model")) {
    definition = read_sentencepiece_tokenizer(folder / "spiece.model", config);
  } else if (is_there(folder / "tokenizer.model")) {
    definition = read_sentencepiece_tokenizer(folder / "tokenizer.model", config);
  } else {
    throw Error("no tokenizer", folder.string(),
                "expected tokenizer.json, vocab.txt, vocab.json and merges.txt, spiece.model or "
                "tokenizer.model in the folder");
  }
  if (const fs::path jinja = folder / "chat_template.jinja"; is_there(jinja)) {
    definition.chat_template_where = jinja.string();
    set_chat_template(read_file(jinja), definition);
  } else {
    definition.chat_template_where =
        (folder / "tokenizer_config.json").string() + ": chat_template";
    apply_chat_template(config, definition);
  }
  return definition;
}

TokenizerDefinition read_any(const fs::path& path) {
  std::error_code unreadable;
  if (fs::is_directory(path, unreadable)) return read_folder(path);
  if (!is_there(path)) throw Error("no such file or folder", path.string());
  const auto file = MappedFile::open(path);
  const std::span bytes = file->bytes().first(std::min<std::size_t>(file->bytes().size(), 4));
  const bool gguf = std::memcmp(bytes.data(), "GGUF", bytes.size()) == 0 && bytes.size() == 4;
  return gguf ? read_gguf_tokenizer(path) : read_folder(path.parent_path());
}

}  // namespace

std::unique_ptr<Tokenizer> load_tokenizer(const fs::path& path) {
  return make_tokenizer(read_any(path));
}

void add_gguf_tokenizer(const fs::path& path, std::int32_t count, GgufWriter& writer) {
  add_gguf_tokenizer(read_any(path), count, writer);
}

}  // namespace blip2
