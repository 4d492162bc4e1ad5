#pragma once

#include <ATen/core/ScalarType.h>

#include <filesystem>
#include <optional>
#include <string>

namespace blip2 {

// A LAVIS checkpoint and the frozen parts that it lacks, as LAVIS saves only trained parts; the
// keys of a TOML file that names them.
struct LavisParts {
  std::string checkpoint, image_encoder, language_model, text_encoder;

  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    visit("checkpoint", self.checkpoint,
          "LAVIS checkpoint of a BLIP-2 or InstructBLIP model (.pth)");
    visit("image_encoder", self.image_encoder,
          "LAVIS's eva_vit_g.pth or clip_vit_L.pth, or a Hugging Face directory; needed unless the "
          "image encoder was fine-tuned");
    visit("language_model", self.language_model,
          "Hugging Face directory of the language model; needed in stage 2");
    visit("text_encoder", self.text_encoder,
          "directory of the BERT whose vocabulary the Q-Former has (vocab.txt or tokenizer.json); "
          "needed in stage 1 and for InstructBLIP");
  }
};

// The parts that a TOML file names under "checkpoint", "image_encoder", …, relative to the file;
// nullopt if the file has no "checkpoint".
std::optional<LavisParts> read_lavis_parts(const std::filesystem::path& toml);

// Makes a model directory from a checkpoint and its parts: in transformers' layout if transformers
// has a class for the model, otherwise (CLIP's image encoder) or with `own_layout` in this
// program's layout, which also keeps the head of text generation and the temperature. `weights`: as
// in convert_model.
//
// Settings that LAVIS makes when it loads a language model are kept: OPT's texts end at a line
// break, T5 computes the exact GELU, Llama's prompts start with </s>. Error if a part is missing
// (it says which part to give), or if the widths of the parts differ.
void convert_lavis(const LavisParts& parts, const std::filesystem::path& folder,
                   std::optional<at::ScalarType> weights, bool own_layout = false);

}  // namespace blip2
