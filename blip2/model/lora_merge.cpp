#include "blip2/model/lora_merge_internal.h"

#include <string>
#include <string_view>

#include "blip2/base/error.h"
#include "blip2/io/gguf.h"
#include "blip2/language/lora_files.h"
#include "blip2/model/directory.h"

namespace blip2 {

void merge_lora_into(WrittenTensor& tensor, const LoraAdapters* merged) {
  if (!merged || !tensor.name.starts_with(kLanguagePrefix)) return;
  const std::string name = tensor.name.substr(std::string_view(kLanguagePrefix).size());
  if (!merged->find(name)) return;
  tensor.change = [merged, name](const at::Tensor& weight) { return merged->merged(name, weight); };
}

std::shared_ptr<const LoraAdapters> adapters_to_merge(const std::filesystem::path& source,
                                                      const Blip2Config& config,
                                                      const LanguageWeights& language,
                                                      const MergeChoices& choices) {
  const auto lora = config.language ? load_lora(source, *config.language, at::kFloat) : nullptr;
  if (!lora && choices.merge) throw Error("the model has no adapters to merge", source.string());
  if (lora && !choices.merge && choices.becomes_transformers) {
    throw Error("transformers' class does not keep the language model's adapters",
                (source / kLoraFile).string(), "--merge-lora merges them, --own-layout keeps them");
  }
  if (!choices.merge) return nullptr;
  const bool gguf = is_gguf(*language.file);
  if (gguf && choices.keeps_blocks) {
    throw Error("adapters are not merged into a GGUF file's blocks as they are",
                language.file->path().string(),
                "--weights bf16 or f32 widens them, --weights q8_0, q4_0 or q4_k makes others");
  }
  for (const auto& adapter : lora->adapters()) {
    if (!gguf) language.file->get(language.prefix + adapter.module.name + ".weight");
  }
  return lora;
}

}  // namespace blip2
