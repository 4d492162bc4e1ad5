// t5 forward MODEL DTYPE IN.safetensors OUT.safetensors
//   IN: embeds [N, D], offsets [B + 1], targets [M], target_offsets [B + 1], weights [M];
//   OUT: states, logits (of the targets' inputs), losses, dembeds of sum(losses * weights)
// t5 generate MODEL DTYPE SPEC.json
//   SPEC: a list of {"prompts": [[id, ...]], "options": {...}, "eos": [id, ...]};
//   one JSON line each: [[{"tokens", "score"}, ...] a prompt]
// t5 rows MODEL DTYPE SPEC.json
//   SPEC: a list of lists of ids; whether ten greedy steps give the same logits, bit for bit, for
//   all of them at once and for each alone
// t5 load MODEL DTYPE: the process' highest resident memory in bytes after loading and one token
// MODEL: a Hugging Face directory.
#include <fmt/format.h>
#include <sys/resource.h>

#include <filesystem>
#include <iostream>

#include "blip2/base/error.h"
#include "blip2/decoding/generate.h"
#include "blip2/io/fields.h"
#include "blip2/io/json.h"
#include "blip2/io/safetensors.h"
#include "blip2/language/t5.h"
#include "blip2/language/t5_session_internal.h"
#include "blip2/nn/tensor_bridge.h"

namespace {

using namespace blip2;
using nlohmann::json;
using Ids = std::vector<std::int64_t>;

std::shared_ptr<T5> open_model(const std::filesystem::path& path, const std::string& dtype) {
  const auto config = path / "config.json";
  const at::ScalarType type = dtype == "bf16"  ? at::kBFloat16
                              : dtype == "f16" ? at::kHalf
                                               : at::kFloat;
  return load_t5(open_model_weights(path), t5_config_from_json(read_json(config), config.string()),
                 type);
}

Ids ids_of(const TensorFile& file, const char* name) {
  const at::Tensor values = to_tensor(file.get(name), at::kLong);
  const auto* data = values.const_data_ptr<std::int64_t>();
  return {data, data + values.numel()};
}

void forward(const T5& model, const char* in, const char* out) {
  const auto file = open_tensor_file(in);
  at::Tensor embeds = to_tensor(file->get("embeds")).requires_grad_();
  const Ids offsets = ids_of(*file, "offsets"), target_offsets = ids_of(*file, "target_offsets");
  const at::Tensor targets = to_tensor(file->get("targets"), at::kLong);
  const at::Tensor inputs = to_tensor(file->get("inputs"), at::kLong);
  const at::Tensor states = model.encode(embeds, offsets);
  const at::Tensor logits = model.decode(states, offsets, inputs, target_offsets).contiguous();
  const at::Tensor losses = at::cross_entropy_loss(logits, targets, {}, at::Reduction::None);
  losses.backward(to_tensor(file->get("weights")));
  const at::Tensor values = losses.detach().contiguous(), gradient = embeds.grad().contiguous();
  const torch::NoGradGuard no_grad;
  const TensorView views[] = {view_of("states", states), view_of("logits", logits),
                              view_of("losses", values), view_of("dembeds", gradient)};
  write_safetensors(out, views);
}

struct Prompts {
  Ids ids, offsets = {0};
};

Prompts pack(const std::vector<Ids>& prompts) {
  Prompts packed;
  for (const auto& prompt : prompts) {
    packed.ids.insert(packed.ids.end(), prompt.begin(), prompt.end());
    packed.offsets.push_back(static_cast<std::int64_t>(packed.ids.size()));
  }
  return packed;
}

std::vector<std::vector<Generated>> run_case(const std::shared_ptr<T5>& model, const json& item) {
  GenerationOptions options;
  read_fields(options, item.at("options"), "options");
  options.eos_token_ids = item.at("eos").get<std::vector<std::int32_t>>();
  const Prompts packed = pack(item.at("prompts").get<std::vector<Ids>>());
  T5Session session(model);
  const auto logits = session.prompt(model->embed(at::tensor(packed.ids)), packed.offsets);
  const StepFunction step{
      session.vocabulary(),
      [&](std::span<const std::int32_t> tokens) { return session.advance(tokens); },
      [&](std::span<const std::int32_t> sources) { session.select(sources); }};
  return generate(step, logits, options);
}

void generate_all(const std::shared_ptr<T5>& model, const char* spec) {
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

// The logits of ten greedy steps, row after row.
std::vector<std::vector<float>> greedy_logits(const std::shared_ptr<T5>& model,
                                              const std::vector<Ids>& prompts) {
  const Prompts packed = pack(prompts);
  T5Session session(model);
  auto logits = session.prompt(model->embed(at::tensor(packed.ids)), packed.offsets);
  std::vector<std::vector<float>> rows(prompts.size());
  const auto width = static_cast<std::size_t>(session.vocabulary());
  for (int step = 0; step < 10; ++step) {
    std::vector<std::int32_t> tokens;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const auto row = logits.subspan(i * width, width);
      rows[i].insert(rows[i].end(), row.begin(), row.end());
      tokens.push_back(
          static_cast<std::int32_t>(std::max_element(row.begin(), row.end()) - row.begin()));
    }
    logits = session.advance(tokens);
  }
  return rows;
}

void compare_rows(const std::shared_ptr<T5>& model, const char* spec) {
  const auto prompts = read_json(spec).get<std::vector<Ids>>();
  const auto together = greedy_logits(model, prompts);
  bool same = true;
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    same = same && greedy_logits(model, {prompts[i]})[0] == together[i];
  }
  std::cout << (same ? "same" : "differ") << "\n";
}

void load(const std::shared_ptr<T5>& model) {
  T5Session session(model);
  session.prompt(model->embed(at::tensor(Ids{1, 2})), Ids{0, 2});
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  std::cout << usage.ru_maxrss * 1024 << "\n";
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) {
    std::cerr << "t5 forward|generate|rows|load MODEL DTYPE [IN [OUT]]\n";
    return 2;
  }
  try {
    const std::string command = argv[1];
    const auto model = open_model(argv[2], argv[3]);
    if (command == "forward" && argc > 5) forward(*model, argv[4], argv[5]);
    if (command == "generate" && argc > 4) generate_all(model, argv[4]);
    if (command == "rows" && argc > 4) compare_rows(model, argv[4]);
    if (command == "load") load(model);
    return 0;
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
}
