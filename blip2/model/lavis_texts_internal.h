#pragma once

#include <filesystem>
#include <string>

#include "blip2/model/config.h"
#include "blip2/model/lavis_checkpoint_internal.h"
#include "blip2/model/lavis_convert.h"

namespace blip2 {

// The kind of language model that the name of a projection stands for, with its article: "an OPT".
std::string lavis_language(const std::string& projection);

// The configuration of a language model as LAVIS runs it: OPT's end token is the line break, T5 has
// the exact GELU, and Llama's first token is </s>.
LanguageConfig lavis_language_config(const std::filesystem::path& folder);

// A folder under the system's temporary folder; the destructor removes it with everything in it.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// Writes the files of a model directory beside its weights: tokenizers and preprocessing. Error if
// the Q-Former reads text and no BERT directory is given (it says so), or if the vocabulary's size
// differs from the checkpoint's.
void write_lavis_texts(const LavisCheckpoint& checkpoint, const LavisParts& parts,
                       const Blip2Config& config, const std::filesystem::path& folder);

}  // namespace blip2
