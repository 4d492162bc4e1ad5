// lora step MODEL WEIGHTS DTYPE SPEC.json IN.safetensors OUT.safetensors
//   SPEC: {"rows": [{"prompt": [id, ...], "answer": [id, ...]}, ...]}; IN: soft [B, Q, D]
//   OUT: losses (of all tokens of the answers), dsoft, and grad.NAME of each adapter's tensor for
//   the mean loss, as stage 2 computes them
// lora write MODEL WEIGHTS DTYPE SPEC.json IN.safetensors
//   one JSON line a row: the ids of "count" tokens, none of them "end", written greedily after soft
//   prompts and prompt
// lora start MODEL RANK ALPHA TARGETS OUT
//   writes untrained adapters into the folder OUT; TARGETS: ends of names, with commas between
// lora quantise MODEL OUT.gguf: the language model in Q8_0
// MODEL: a Hugging Face directory with peft's adapters beside. WEIGHTS: the directory, or a GGUF
// file, whose blocks stay as they are. DTYPE: f32 or bf16.
#include <filesystem>
#include <iostream>
#include <sstream>

#include "blip2/base/error.h"
#include "blip2/decoding/generate.h"
#include "blip2/io/gguf.h"
#include "blip2/io/json.h"
#include "blip2/io/safetensors.h"
#include "blip2/language/frozen_language.h"
#include "blip2/language/language_gguf.h"
#include "blip2/language/language_input.h"
#include "blip2/language/lora_files.h"
#include "blip2/language/teacher_forcing.h"
#include "blip2/nn/tensor_bridge.h"

namespace {

using namespace blip2;
using nlohmann::json;
using Ids = std::vector<std::int64_t>;

LanguageConfig config_of(const std::filesystem::path& model) {
  const auto path = model / "config.json";
  return read_language_config(read_json(path), path.string());
}

struct Loaded {
  std::shared_ptr<const LoraAdapters> lora;
  FrozenLanguage language;
};

// As training holds the matrices, or as writing does.
Loaded load(const std::filesystem::path& model, const std::filesystem::path& weights,
            const std::string& dtype, bool trained) {
  const LanguageConfig config = config_of(model);
  const at::ScalarType type = dtype == "bf16" ? at::kBFloat16 : at::kFloat;
  std::shared_ptr<const LoraAdapters> lora = load_lora(model, config, type, trained);
  std::shared_ptr<const TensorFile> file;
  MatrixForm form = trained ? MatrixForm::joined : MatrixForm::stored;
  if (std::filesystem::is_directory(weights)) {
    file = open_model_weights(weights);
  } else {
    file = open_gguf(weights);
    form = MatrixForm::blocks;
  }
  return {lora, load_frozen_language(file, config, type, "", form, lora)};
}

at::Tensor soft_of(const char* in) {
  return to_tensor(open_tensor_file(in)->get("soft"));
}

void step(const Loaded& model, const char* spec, const char* in, const char* out) {
  std::vector<ForcedRow> rows;
  const json object = read_json(spec);
  for (const json& row : object.at("rows")) {
    const auto answer = row.at("answer").get<Ids>();
    rows.push_back({row.at("prompt").get<Ids>(), answer, answer});
  }
  const at::Tensor soft = soft_of(in).requires_grad_();
  const at::Tensor losses = model.language.losses(soft, rows);
  losses.mean().backward();
  std::vector<std::pair<std::string, at::Tensor>> tensors{{"losses", losses.detach().contiguous()},
                                                          {"dsoft", soft.grad().contiguous()}};
  for (const auto& [name, tensor] : model.lora->tensors()) {
    tensors.emplace_back("grad." + name, tensor.grad().contiguous());
  }
  std::vector<TensorView> views;
  for (const auto& [name, tensor] : tensors) views.push_back(view_of(name, tensor));
  write_safetensors(out, views);
}

void write(const Loaded& model, const char* spec_path, const char* in) {
  const torch::NoGradGuard no_grad;
  const json spec = read_json(spec_path);
  std::vector<Ids> texts;
  for (const json& row : spec.at("rows")) texts.push_back(row.at("prompt").get<Ids>());
  const auto embed = [&](const at::Tensor& ids) { return model.language.embed(ids); };
  const LanguageInput input = join_input(embed, soft_of(in), texts);
  GenerationOptions options;
  options.beams = 1;
  options.max_new_tokens = options.min_new_tokens = spec.at("count").get<std::int64_t>();
  options.eos_token_ids = {spec.at("end").get<std::int32_t>()};
  const auto session = model.language.make_session(64, options.max_new_tokens);
  const auto logits = session->prompt(input.embeds, input.offsets);
  const StepFunction next{session->vocabulary(),
                          [&](auto tokens) { return session->advance(tokens); },
                          [&](auto sources) { session->select(sources); }};
  for (const auto& answers : generate(next, logits, options)) {
    std::cout << json(answers.at(0).tokens).dump() << "\n";
  }
}

void start(const std::filesystem::path& model, char** arguments) {
  const LanguageConfig config = config_of(model);
  LoraConfig lora{.rank = std::stoll(arguments[0]), .alpha = std::stod(arguments[1])};
  std::istringstream targets(arguments[2]);
  for (std::string target; std::getline(targets, target, ',');) lora.targets.push_back(target);
  const auto modules = lora_targets(config, lora.targets, "targets");
  save_lora(LoraAdapters(lora, modules, std::uint64_t{1}), config, arguments[3]);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) return 2;
  const std::string command = argv[1];
  try {
    if (command == "step") step(load(argv[2], argv[3], argv[4], true), argv[5], argv[6], argv[7]);
    if (command == "write") write(load(argv[2], argv[3], argv[4], false), argv[5], argv[6]);
    if (command == "start") start(argv[2], argv + 3);
    if (command == "quantise") {
      write_language_gguf(open_model_weights(argv[2]), config_of(argv[2]), "", DType::q8_0, argv[3],
                          [](GgufWriter&) {});
    }
    return 0;
  } catch (const Error& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
}
