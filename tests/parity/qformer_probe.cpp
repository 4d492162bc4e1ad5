// The Q-Former and the stage-1 objectives on weights and a batch written by test_qformer.py.
//
//   qformer passes FOLDER              hidden states of every pass -> FOLDER/out.safetensors
//   qformer stage1 FOLDER STEPS TYPE [OBJECTIVES]   losses of STEPS AdamW steps; of the first the
//                                      gradients and what was drawn. OBJECTIVES: "itc,mlm", …; the
//                                      paper's three without it
//   qformer mask FOLDER VOCABULARY     what masking draws for the batch's texts
//   qformer bert FOLDER FILE           the weights after starting from a BERT checkpoint
//
// THREADS in the environment sets the number of threads, 2 without it.
// FOLDER has config.json (Q-Former), weights.safetensors and batch.safetensors.

#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_fused_adamw.h>
#include <torch/torch.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>

#include "blip2/base/error.h"
#include "blip2/io/json.h"
#include "blip2/io/safetensors.h"
#include "blip2/nn/tensor_bridge.h"
#include "blip2/objectives/mlm.h"
#include "blip2/tasks/stage1_objectives.h"

namespace {

using namespace blip2;
using Named = std::vector<std::pair<std::string, at::Tensor>>;

struct Stage1Model {
  explicit Stage1Model(const QFormerConfig& config, std::int64_t queries)
      : qformer(config, 1),
        heads(config, 256, 2),
        query_tokens(random_query_tokens(queries, config.hidden_size, 3)),
        norm_weight(at::ones({config.encoder_hidden_size}).requires_grad_()),
        norm_bias(at::zeros({config.encoder_hidden_size}).requires_grad_()) {}

  // Under the reference's names.
  Named parameters() const {
    Named all{{"query_tokens", query_tokens},
              {"post_layernorm.weight", norm_weight},
              {"post_layernorm.bias", norm_bias}};
    for (const auto& p : qformer.named_parameters()) {
      const bool outside = p.key().starts_with("embeddings.");
      all.emplace_back((outside ? "" : "qformer.") + p.key(), p.value());
    }
    for (const auto& p : heads.named_parameters()) all.emplace_back(p.key(), p.value());
    return all;
  }
  Stage1Parts parts() const {
    return {qformer, heads, query_tokens, Norm{norm_weight, norm_bias, 1e-6}};
  }

  QFormer qformer;
  Stage1Heads heads;
  at::Tensor query_tokens, norm_weight, norm_bias;
};

class Optimiser {
 public:
  explicit Optimiser(const Named& parameters) {
    for (const auto& [name, value] : parameters) {
      values_[value.dim() > 1].push_back(value);
      averages_[value.dim() > 1].push_back(at::zeros_like(value));
      squares_[value.dim() > 1].push_back(at::zeros_like(value));
      steps_[value.dim() > 1].push_back(at::zeros({}));
    }
  }

  void step(double lr, double clip) {
    const at::NoGradGuard no_grad;
    std::vector<at::Tensor> gradients[2], all;
    for (int group : {0, 1}) {
      for (at::Tensor& value : values_[group]) {
        if (!value.grad().defined()) value.mutable_grad() = at::zeros_like(value);
        gradients[group].push_back(value.grad().contiguous());
        all.push_back(gradients[group].back());
      }
    }
    const double norm = at::stack(at::_foreach_norm(all)).norm().item<double>();
    const at::Tensor scale = at::full({}, clip > 0 && norm > clip ? norm / clip : 1.0, at::kFloat);
    for (int group : {0, 1}) {
      for (at::Tensor& count : steps_[group]) count.add_(1);
      at::_fused_adamw_(values_[group], gradients[group], averages_[group], squares_[group], {},
                        steps_[group], lr, 0.9, 0.98, group ? 0.05 : 0.0, 1e-8, false, false,
                        scale);
      for (at::Tensor& value : values_[group]) value.mutable_grad().reset();
    }
  }

 private:
  std::vector<at::Tensor> values_[2], averages_[2], squares_[2], steps_[2];
};

void write(const std::filesystem::path& path, const Named& tensors) {
  std::vector<at::Tensor> kept;
  std::vector<TensorView> views;
  for (const auto& [name, value] : tensors) {
    kept.push_back(value.detach().contiguous());
    views.push_back(view_of(name, kept.back()));
  }
  write_safetensors(path, views);
}

std::vector<std::int64_t> list_of(const at::Tensor& tensor) {
  const auto* data = tensor.const_data_ptr<std::int64_t>();
  return {data, data + tensor.numel()};
}

struct Case {
  explicit Case(const std::filesystem::path& folder)
      : path(folder),
        config(read_qformer_config(read_json(folder / "config.json"), "config.json")),
        file(open_safetensors(folder / "batch.safetensors")),
        model(config, tensor("queries").numel()) {
    const auto weights = open_safetensors(folder / "weights.safetensors");
    const at::NoGradGuard no_grad;
    for (auto& [name, value] : model.parameters()) {
      at::Tensor into = value;
      into.copy_(to_tensor(weights->get(name)));
    }
    batch.image_embeds = tensor("features");
    batch.text = pack_text(integers("ids"), list_of(integers("lengths")));
    batch.image_ids = integers("image_ids");
    batch.caption_ids = integers("caption_ids");
    batch.negatives =
        Negatives{list_of(integers("negative_images")), list_of(integers("negative_texts"))};
    decoder_token = integers("decoder_token").item<std::int64_t>();
    setting.mask_token = integers("mask_token").item<std::int64_t>();
    setting.special = list_of(integers("special"));
    setting.vocabulary = config.vocab_size;
    setting.recipe.mrm_share = 0.4;
  }

  at::Tensor tensor(const char* name) const { return to_tensor(file->get(name)); }
  at::Tensor integers(const char* name) const { return to_tensor(file->get(name), at::kLong); }

  std::filesystem::path path;
  QFormerConfig config;
  std::unique_ptr<TensorFile> file;
  Stage1Model model;
  Stage1Batch batch;
  std::int64_t decoder_token = 0;
  Stage1Setting setting;
};

void run_passes(const std::filesystem::path& folder) {
  const Case c(folder);
  const at::NoGradGuard no_grad;
  const QFormerPass pass = c.model.qformer.pass();
  const auto& tokens = c.model.query_tokens;
  const ImageKeysValues images = pass.project_image(c.batch.image_embeds, *c.model.parts().norm);
  const QueryStates queries = pass.encode_queries(tokens, images);
  const auto apart = pass.encode_unimodal(tokens, images, c.batch.text);
  const Triplets triplets = make_triplets(*c.batch.negatives);
  const JointStates joint =
      pass.encode_multimodal(tokens, images, c.batch.text, triplets.pairs, true);
  const GenerationText text = generation_text(c.batch.text, c.decoder_token);
  const at::Tensor generated = pass.generate_text(text.inputs, text.sources, queries);
  write(folder / "out.safetensors", {{"queries", queries.hidden},
                                     {"text", pass.encode_text(c.batch.text)},
                                     {"first", pass.encode_first_tokens(c.batch.text)},
                                     {"apart_queries", apart.queries.hidden},
                                     {"apart_first", apart.first_tokens},
                                     {"joint_queries", joint.queries},
                                     {"joint_text", joint.text},
                                     {"generated", generated}});
}

at::ScalarType type_of(const std::string& name) {
  return name == "bf16" ? at::kBFloat16 : at::kFloat;
}

// A weight of 1 for each objective that the list names.
std::vector<double> weights_of(const std::string& list) {
  std::vector<double> weights;
  for (const Stage1Objective& objective : stage1_objectives()) {
    weights.push_back(list.find(objective.schedule.name) != std::string::npos ? 1 : 0);
  }
  return weights;
}

// The losses of the step's objectives, 0 for the others; what they drew goes to `out`.
std::vector<at::Tensor> losses_of(const Stage1Step& step, const Stage1Setting& setting,
                                  const std::vector<double>& weights, Named& out) {
  std::vector<at::Tensor> losses;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    ObjectiveLoss loss{at::zeros({})};
    if (weights[i] > 0) loss = stage1_objectives()[i].loss(step, setting);
    losses.push_back(loss.loss);
    out.insert(out.end(), loss.drawn.begin(), loss.drawn.end());
  }
  return losses;
}

void run_stage1(const std::filesystem::path& folder, int steps, at::ScalarType type,
                const std::string& objectives) {
  Case c(folder);
  Optimiser optimiser(c.model.parameters());
  Named out;
  std::vector<at::Tensor> losses;
  const std::vector<double> weights = weights_of(objectives);
  const Stage1Options options{.compute = {.type = type, .training = true, .seed = 5},
                              .passes = shared_passes(weights),
                              .decoder_token = c.decoder_token};
  for (int step = 0; step < steps; ++step) {
    Named drawn;
    const at::Tensor all = at::stack(
        losses_of(Stage1Step(c.model.parts(), c.batch, options), c.setting, weights, drawn));
    losses.push_back(all.detach());
    all.sum().backward();
    if (step == 0) {
      out = drawn;
      for (const auto& [name, value] : c.model.parameters()) {
        out.emplace_back("grad." + name,
                         value.grad().defined() ? value.grad().clone() : at::zeros_like(value));
      }
    }
    optimiser.step(1e-4, 0);
  }
  out.emplace_back("losses", at::stack(losses));
  write(folder / "out.safetensors", out);
}

void run_mask(const std::filesystem::path& folder, std::int64_t vocabulary) {
  const auto file = open_safetensors(folder / "batch.safetensors");
  const auto integers = [&](const char* name) { return to_tensor(file->get(name), at::kLong); };
  const MaskedText masked = mask_text(pack_text(integers("ids"), list_of(integers("lengths"))),
                                      {.mask_token = integers("mask_token").item<std::int64_t>(),
                                       .vocabulary = vocabulary,
                                       .special = list_of(integers("special"))},
                                      1);
  write(folder / "out.safetensors", {{"mlm_ids", masked.inputs.ids},
                                     {"mlm_places", masked.places},
                                     {"mlm_targets", masked.targets}});
}

void run_bert(const std::filesystem::path& folder, const std::filesystem::path& bert) {
  const QFormerConfig config = read_qformer_config(read_json(folder / "config.json"), "config");
  Stage1Model model(config, 8);
  model.qformer.init_from_bert(open_safetensors(bert));
  write(folder / "out.safetensors", model.parameters());
}

int run(const std::vector<std::string>& args) {
  at::set_num_threads(std::getenv("THREADS") ? std::atoi(std::getenv("THREADS")) : 2);
  if (args.size() == 2 && args[0] == "passes") {
    run_passes(args[1]);
  } else if (args.size() >= 4 && args[0] == "stage1") {
    run_stage1(args[1], std::stoi(args[2]), type_of(args[3]),
               args.size() > 4 ? args[4] : "itc,itm,itg");
  } else if (args.size() == 3 && args[0] == "mask") {
    run_mask(args[1], std::stoll(args[2]));
  } else if (args.size() == 3 && args[0] == "bert") {
    run_bert(args[1], args[2]);
  } else {
    std::fprintf(stderr, "see the top of qformer_probe.cpp\n");
    return 2;
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run({argv + 1, argv + argc});
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
