#pragma once

#include <filesystem>
#include <string>

#include "blip2/model/config.h"
#include "blip2/model/lavis_checkpoint.h"
#include "blip2/model/lavis_convert.h"

namespace blip2 {

// The kind of language model that a projection's name stands for, as "an OPT".
std::string lavis_language(const std::string& projection);

// The configuration of a language model as LAVIS runs it: OPT's end token is the line break, T5's
// GELU the exact one, Llama's first token </s>.
LanguageConfig lavis_language_config(const std::filesystem::path& folder);

// A folder of its own under the system's temporary one, removed with everything in it.
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

// Writes the files of a model directory beside its weights: tokenizers and preprocessing. Error
// that says to give the BERT's directory if the Q-Former reads text and there is none, or its words
// are not as many as the checkpoint's.
void write_lavis_texts(const LavisCheckpoint& checkpoint, const LavisParts& parts,
                       const Blip2Config& config, const std::filesystem::path& folder);

}  // namespace blip2
