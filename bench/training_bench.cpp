// training_bench STAGE [key=value ...]: seconds of one training step on random numbers, as one
// JSON line. STAGE is 1 or 2. Keys with their defaults, the demo's shapes:
//   batch=48 queries=8 tokens=12 least_tokens=12 positions=49 features=1280 width=384 layers=6
//   heads=12 type=bf16 steps=5 threads=2
// Stage 2 has language=MODEL (GGUF file or Hugging Face directory), instruction=0 (tokens that the
// Q-Former reads) and answer=3 (of the tokens, those at the end that count).
// vit_blocks=N: an EVA ViT of so many blocks (ViT-g/14: 39, with positions=257 features=1408)
// encodes random pictures in each step, in place of features that are given as from a cache.
// bench/stage1_peer.py and bench/stage2_peer.py are the same steps in eager PyTorch.
#include <torch/torch.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>

#include "blip2/base/error.h"
#include "blip2/language/teacher_forcing.h"
#include "blip2/model/bridge.h"
#include "blip2/model/soft_prompts.h"
#include "blip2/nn/step_memory.h"
#include "blip2/optimiser/adamw.h"
#include "blip2/tasks/stage1_objectives.h"
#include "blip2/tasks/task.h"
#include "blip2/vision/image_encoders.h"

namespace {

using namespace blip2;

constexpr std::int64_t kEncodedAtOnce = 8;

struct Options {
  std::map<std::string, std::int64_t> numbers{
      {"batch", 48},      {"queries", 8},     {"tokens", 12}, {"least_tokens", 12},
      {"positions", 49},  {"features", 1280}, {"width", 384}, {"layers", 6},
      {"heads", 12},      {"steps", 5},       {"threads", 2}, {"answer", 3},
      {"instruction", 0}, {"vit_blocks", 0}};
  std::map<std::string, std::string> texts{{"type", "bf16"}, {"language", ""}};

  std::int64_t operator[](const std::string& name) const { return numbers.at(name); }
  at::ScalarType type() const { return texts.at("type") == "f32" ? at::kFloat : at::kBFloat16; }
};

Options read_options(int argc, char** argv) {
  Options options;
  for (int i = 2; i < argc; ++i) {
    const std::string word = argv[i];
    const auto equals = word.find('=');
    const std::string key = word.substr(0, equals);
    const std::string value = equals == std::string::npos ? "" : word.substr(equals + 1);
    if (options.numbers.contains(key)) {
      options.numbers[key] = std::stoll(value);
    } else if (options.texts.contains(key)) {
      options.texts[key] = value;
    } else {
      throw Error("unknown key", key, "see the top of training_bench.cpp");
    }
  }
  return options;
}

Blip2Config bridge_config(const Options& options) {
  Blip2Config config;
  config.num_query_tokens = options["queries"];
  QFormerConfig& qformer = config.qformer;
  qformer.vocab_size = 30523;
  qformer.hidden_size = options["width"];
  qformer.num_hidden_layers = options["layers"];
  qformer.num_attention_heads = options["heads"];
  qformer.intermediate_size = 4 * options["width"];
  qformer.encoder_hidden_size = options["features"];
  qformer.use_qformer_text_input = true;
  qformer.hidden_dropout_prob = qformer.attention_probs_dropout_prob = 0;
  return config;
}

// Texts of random words, their lengths spread evenly from the least to the most.
TextRows random_texts(const Options& options) {
  const std::int64_t batch = options["batch"], most = options["tokens"];
  std::vector<std::int64_t> lengths;
  for (std::int64_t i = 0; i < batch; ++i) {
    lengths.push_back(options["least_tokens"] +
                      i * (most - options["least_tokens"]) / std::max<std::int64_t>(1, batch - 1));
  }
  return pack_text(torch::randint(1000, 30000, {batch, most}, at::kLong), lengths);
}

// The features of a step's pictures, [B, P, D].
using StepFeatures = std::function<at::Tensor()>;

StepFeatures step_features(const Options& options) {
  const std::int64_t batch = options["batch"];
  if (options["vit_blocks"] == 0) {
    const at::Tensor given = torch::randn({batch, options["positions"], options["features"]});
    return [given] { return given; };
  }
  VitConfig config;
  config.hidden_size = options["features"];
  config.num_hidden_layers = options["vit_blocks"];
  const auto encoder = make_image_encoder(config);
  encoder->to(options.type());
  return [=, size = encoder->image_size()] {
    const torch::NoGradGuard no_grad;
    std::vector<at::Tensor> features;  // some pictures at a time, as a cache is filled
    for (std::int64_t i = 0; i < batch; i += kEncodedAtOnce) {
      const std::int64_t count = std::min(kEncodedAtOnce, batch - i);
      features.push_back(encoder->forward(torch::randn({count, 3, size, size})));
    }
    return at::cat(features);
  };
}

// The loss of a step, by its number.
using StepLoss = std::function<at::Tensor(std::uint64_t)>;

StepLoss stage1_steps(const Options& options, const std::shared_ptr<Bridge>& bridge) {
  const at::Tensor rows = torch::arange(options["batch"]);
  return [=, features = step_features(options), text = random_texts(options)](std::uint64_t step) {
    const Stage1Setting setting;
    const std::vector<double> weights = stage1_weights(setting.recipe);
    const Stage1Step losses(bridge->stage1_parts(), {features(), text, rows, rows},
                            {.compute = {options.type(), true, step},
                             .passes = shared_passes(weights),
                             .decoder_token = bridge->config().qformer.vocab_size - 1});
    return stage1_loss(losses, setting, weights).loss;
  };
}

StepLoss stage2_steps(const Options& options, const std::shared_ptr<Bridge>& bridge,
                      const FrozenLanguage& language) {
  const std::int64_t batch = options["batch"], tokens = options["tokens"];
  const std::int64_t asked = options["answer"], instruction = options["instruction"];
  std::vector<ForcedRow> rows;
  for (std::int64_t i = 0; i < batch; ++i) {
    const at::Tensor ids = torch::randint(1000, 30000, {tokens}, at::kLong);
    const auto* id = ids.const_data_ptr<std::int64_t>();
    const std::vector<std::int64_t> answer(id + tokens - asked, id + tokens);
    rows.push_back({{id, id + tokens - asked}, answer, answer});
  }
  std::optional<TextRows> questions;
  if (instruction > 0) {
    questions = pack_text(torch::randint(1000, 30000, {batch, instruction}, at::kLong),
                          std::vector<std::int64_t>(batch, instruction));
  }
  return [=, features = step_features(options)](std::uint64_t step) {
    const QFormerPass pass = bridge->qformer->pass({options.type(), true, step});
    const at::Tensor soft = soft_prompts(
        *bridge, pass, pass.project_image(features(), bridge->feature_norm()), {questions, {}});
    return language.losses(soft, rows).mean();
  };
}

nlohmann::json measure(const Options& options, AdamW& optimizer, const StepLoss& loss) {
  constexpr std::int64_t warmup = 2;
  const StepMemory memory;
  std::vector<double> seconds;
  for (std::int64_t step = 0; step < warmup + options["steps"]; ++step) {
    const auto start = std::chrono::steady_clock::now();
    loss(static_cast<std::uint64_t>(step)).backward();
    optimizer.step(1e-4);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    if (step >= warmup) seconds.push_back(took.count());
  }
  std::sort(seconds.begin(), seconds.end());
  return {{"seconds_per_step", seconds[seconds.size() / 2]}, {"all", seconds}};
}

nlohmann::json run(int argc, char** argv) {
  const Options options = read_options(argc, argv);
  at::set_num_threads(static_cast<int>(options["threads"]));
  torch::manual_seed(0);
  Blip2Config config = bridge_config(options);
  Recipe recipe;
  recipe.stage = std::stoi(argv[1]);
  std::shared_ptr<LanguageModel> language;
  if (recipe.stage == 2) {
    const auto [shape, weights] = open_language_files(options.texts.at("language"));
    language = load_language_model(weights, shape, options.type(), {}, MatrixForm::joined);
    config.language = shape;
    config.stage1_heads = false;
  }
  const auto bridge = std::make_shared<Bridge>(config);
  AdamW optimizer(trained_tensors(*bridge, recipe), recipe.optimizer);
  return measure(options, optimizer,
                 recipe.stage == 2 ? stage2_steps(options, bridge, FrozenLanguage(language))
                                   : stage1_steps(options, bridge));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "training_bench 1|2 [key=value ...]\n");
    return 2;
  }
  try {
    std::printf("%s\n", run(argc, argv).dump().c_str());
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
