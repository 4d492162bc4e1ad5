#pragma once

#include <ATen/core/ScalarType.h>

#include <filesystem>
#include <optional>
#include <string>

namespace blip2 {

// A LAVIS checkpoint and what stands beside it, since LAVIS saves what was trained; the keys of a
// TOML file that names them.
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
          "directory of the BERT whose words the Q-Former reads (vocab.txt or tokenizer.json); "
          "needed in stage 1 and for InstructBLIP");
  }
};

// The parts that a TOML file names under "checkpoint", "image_encoder", …, relative to the file;
// empty if it has no "checkpoint".
std::optional<LavisParts> read_lavis_parts(const std::filesystem::path& toml);

// Makes a model directory of a checkpoint and its parts: one of transformers' where it has the
// class, otherwise (CLIP's image encoder) or with `own_layout` this program's own, which keeps the
// head of text generation and the temperature too. `weights`: as convert_model has it.
//
// What LAVIS sets when it loads a language model comes along: OPT ends at a line break, T5 computes
// the exact GELU, Llama's prompts start with </s>. Error that says which part to give if one is
// missing, and for parts of other widths.
void convert_lavis(const LavisParts& parts, const std::filesystem::path& folder,
                   std::optional<at::ScalarType> weights, bool own_layout = false);

}  // namespace blip2
