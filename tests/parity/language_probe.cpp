// language forward MODEL DTYPE IN.safetensors OUT.safetensors
//   IN: embeds [B, T, D], lengths [B], gradient [B, T, D]; OUT: hidden, logits, dembeds
// language loss MODEL DTYPE IN.safetensors OUT.safetensors
//   IN: hidden [M, D], targets [M], weights [M]; OUT: losses, dhidden of sum(losses * weights)
// language generate MODEL DTYPE SPEC.json
//   SPEC: a list of {"prompts": [[id, ...]], "options": {...}, "eos": [id, ...]};
//   one JSON line each: [[{"tokens", "score"}, ...] a prompt]
// language greedy MODEL DTYPE SPEC.json
//   SPEC: a list of lists of ids; one JSON line each: the most probable token after each position
// language save MODEL DTYPE OUT.safetensors
//   OUT: the model's tensors; prints its configuration as one JSON line
// language forced MODEL DTYPE SPEC.json
//   SPEC: a list of lists of ids; one JSON line each: {"best", "log_probabilities"} after each
//   position but the last: the most probable token and the logarithm of the next one's probability,
//   by a session that is given the ids one at a time
// MODEL: a GGUF file or a Hugging Face directory. DTYPE: f32, bf16, f16, or blocks: a GGUF file's
// blocks as they are, the rest in f32.
#include <fmt/format.h>

#include <filesystem>
#include <iostream>

#include "blip2/base/error.h"
#include "blip2/decoding/generate.h"
#include "blip2/io/fields.h"
#include "blip2/io/json.h"
#include "blip2/io/safetensors.h"
#include "blip2/language/language_model.h"
#include "blip2/nn/tensor_bridge.h"

namespace {

using namespace blip2;
using nlohmann::json;

at::ScalarType type_of(const std::string& name) {
  if (name == "bf16") return at::kBFloat16;
  return name == "f16" ? at::kHalf : at::kFloat;
}

std::shared_ptr<LanguageModel> open_model(const std::filesystem::path& path,
                                          const std::string& dtype) {
  const auto [config, weights] = open_language_files(path);
  return load_language_model(weights, config, type_of(dtype), {},
                             dtype == "blocks" ? MatrixForm::blocks : MatrixForm::stored);
}

void save(const LanguageModel& model, const std::filesystem::path& in, const char* out) {
  const auto tensors = model.tensors();
  std::vector<TensorView> views;
  for (const auto& [name, tensor] : tensors) views.push_back(view_of(name, tensor));
  write_safetensors(out, views);
  std::cout << decoder_config_to_json(open_language_files(in).config).dump() << "\n";
}

void forward(LanguageModel& model, const char* in, const char* out) {
  const auto file = open_tensor_file(in);
  at::Tensor embeds = to_tensor(file->get("embeds")).requires_grad_();
  const at::Tensor counts = to_tensor(file->get("lengths"), at::kLong);
  const std::span lengths(counts.const_data_ptr<std::int64_t>(),
                          static_cast<std::size_t>(counts.numel()));
  const at::Tensor hidden = model.forward(embeds, lengths);
  hidden.backward(to_tensor(file->get("gradient")));
  const at::Tensor states = hidden.detach().contiguous(), logits = model.logits(states);
  const at::Tensor gradient = embeds.grad().contiguous();
  const TensorView views[] = {view_of("hidden", states), view_of("logits", logits),
                              view_of("dembeds", gradient)};
  write_safetensors(out, views);
}

void loss(LanguageModel& model, const char* in, const char* out) {
  const auto file = open_tensor_file(in);
  at::Tensor hidden = to_tensor(file->get("hidden")).requires_grad_();
  const at::Tensor losses = model.token_loss(hidden, to_tensor(file->get("targets"), at::kLong));
  losses.backward(to_tensor(file->get("weights")));
  const at::Tensor values = losses.detach().contiguous(), gradient = hidden.grad().contiguous();
  const TensorView views[] = {view_of("losses", values), view_of("dhidden", gradient)};
  write_safetensors(out, views);
}

struct Prompts {
  std::vector<std::int64_t> ids, offsets = {0};
};

Prompts pack(const std::vector<std::vector<std::int64_t>>& prompts) {
  Prompts packed;
  for (const auto& prompt : prompts) {
    packed.ids.insert(packed.ids.end(), prompt.begin(), prompt.end());
    packed.offsets.push_back(static_cast<std::int64_t>(packed.ids.size()));
  }
  return packed;
}

// The most probable next token at every position, in one pass without a cache.
void greedy(LanguageModel& model, const char* spec) {
  const torch::NoGradGuard no_grad;
  for (const json& item : read_json(spec)) {
    const auto ids = item.get<std::vector<std::int64_t>>();
    const auto length = static_cast<std::int64_t>(ids.size());
    const at::Tensor hidden = model.forward_packed(model.embed(at::tensor(ids)), {0, length});
    const at::Tensor best = model.logits(hidden).argmax(1);
    const std::int64_t* data = best.const_data_ptr<std::int64_t>();
    std::cout << json(std::vector<std::int64_t>(data, data + length)).dump() << "\n";
  }
}

// The logits after each of `ids` but the last.
template <typename Take>
void force(const LanguageModel& model, const std::vector<std::int64_t>& ids, const Take& take) {
  const auto session = model.make_session();
  const std::int64_t offsets[] = {0, 1};
  std::span<const float> logits = session->prompt(model.embed(at::tensor({ids[0]})), offsets);
  for (std::size_t i = 1; i < ids.size(); ++i) {
    take(at::from_blob(const_cast<float*>(logits.data()), {model.vocabulary()}), ids[i]);
    const auto next = static_cast<std::int32_t>(ids[i]);
    logits = session->advance(std::span(&next, 1));
  }
}

void forced(const LanguageModel& model, const char* spec) {
  const torch::NoGradGuard no_grad;
  for (const json& item : read_json(spec)) {
    json best = json::array(), probabilities = json::array();
    force(model, item.get<std::vector<std::int64_t>>(),
          [&](const at::Tensor& logits, std::int64_t next) {
            best.push_back(logits.argmax().item<std::int64_t>());
            probabilities.push_back(logits.log_softmax(0)[next].item<float>());
          });
    std::cout << json{{"best", best}, {"log_probabilities", probabilities}}.dump() << "\n";
  }
}

std::vector<std::vector<Generated>> run_case(const std::shared_ptr<LanguageModel>& model,
                                             const json& item) {
  GenerationOptions options;
  read_fields(options, item.at("options"), "options");
  options.eos_token_ids = item.at("eos").get<std::vector<std::int32_t>>();
  const auto prompts = item.at("prompts").get<std::vector<std::vector<std::int64_t>>>();
  const auto session = model->make_session();
  const Prompts packed = pack(prompts);
  const auto logits = session->prompt(model->embed(at::tensor(packed.ids)), packed.offsets);
  const StepFunction step{
      session->vocabulary(),
      [&](std::span<const std::int32_t> tokens) { return session->advance(tokens); },
      [&](std::span<const std::int32_t> sources) { session->select(sources); }};
  std::vector<std::vector<std::int32_t>> counted;  // "count_prompts": penalties count them
  if (item.value("count_prompts", false)) {
    for (const auto& prompt : prompts) counted.emplace_back(prompt.begin(), prompt.end());
  }
  return generate(step, logits, options, counted);
}

void generate_all(const std::shared_ptr<LanguageModel>& model, const char* spec) {
  for (const json& item : read_json(spec)) {
    json answers = json::array();
    for (const auto& prompt : run_case(model, item)) {
      json list = json::array();
      for (const Generated& g : prompt) list.push_back({{"tokens", g.tokens}, {"score", g.score}});
      answers.push_back(std::move(list));
    }
    std::cout << answers.dump() << "\n";
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) {
    std::cerr << "language forward|loss|generate|greedy|forced|save MODEL DTYPE IN [OUT]\n";
    return 2;
  }
  try {
    const std::string command = argv[1];
    const auto model = open_model(argv[2], argv[3]);
    if (command == "forward") forward(*model, argv[4], argv[5]);
    if (command == "loss") loss(*model, argv[4], argv[5]);
    if (command == "greedy") greedy(*model, argv[4]);
    if (command == "forced") forced(*model, argv[4]);
    if (command == "save") save(*model, argv[2], argv[4]);
    if (command == "generate") generate_all(model, argv[4]);
    return 0;
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
}
