// objectives MODEL SPEC.json IN.safetensors OUT.safetensors
//   MODEL: a Hugging Face directory of a decoder-only model or a T5, in f32.
//   SPEC: {"objective": "lm" | "prefix_lm" | "cmlm", "seed", "mask_token",
//          "rows": [{"prompt": [id, ...], "answer": [id, ...]}, ...]}; IN: soft [B, Q, width].
//   OUT: the losses of the rows' targets, and the gradient of their mean by the soft prompts.
//   Prints what was drawn: [{"prompt", "read", "targets"}, ...].
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "blip2/base/error.h"
#include "blip2/base/random.h"
#include "blip2/io/json.h"
#include "blip2/io/safetensors.h"
#include "blip2/language/frozen_language.h"
#include "blip2/nn/tensor_bridge.h"
#include "blip2/objectives/cmlm.h"
#include "blip2/objectives/prefix_lm.h"

namespace {

using namespace blip2;
using nlohmann::json;
using Ids = std::vector<std::int64_t>;

std::vector<ForcedRow> rows_of(const json& spec) {
  const std::string objective = spec.at("objective").get<std::string>();
  std::vector<ForcedRow> rows;
  for (const json& row : spec.at("rows")) {
    const auto answer = row.at("answer").get<Ids>();
    const std::uint64_t seed = derive_seed(spec.at("seed").get<std::uint64_t>(), rows.size());
    ForcedRow plain{row.at("prompt").get<Ids>(), answer, answer};
    if (objective == "prefix_lm") plain = split_answer(std::move(plain), seed);
    if (objective == "cmlm") {
      plain = mask_answer(std::move(plain), spec.at("mask_token").get<std::int64_t>(), seed);
    }
    rows.push_back(std::move(plain));
  }
  return rows;
}

at::Tensor losses_of(const std::filesystem::path& model, const at::Tensor& soft,
                     const std::vector<ForcedRow>& rows) {
  const auto where = model / "config.json";
  const json config = read_json(where);
  if (config.at("model_type") == "t5") {
    const auto t5 =
        load_t5(open_model_weights(model), t5_config_from_json(config, where.string()), at::kFloat);
    return FrozenLanguage(t5).losses(soft, rows);
  }
  auto files = open_language_files(model);
  const auto decoder = load_language_model(files.weights, files.config, at::kFloat);
  return FrozenLanguage(decoder).losses(soft, rows);
}

void run(char** argv) {
  const auto rows = rows_of(read_json(argv[2]));
  at::Tensor soft = to_tensor(open_tensor_file(argv[3])->get("soft")).requires_grad_();
  const at::Tensor losses = losses_of(argv[1], soft, rows);
  losses.mean().backward();
  const at::Tensor values = losses.detach().contiguous(), gradient = soft.grad().contiguous();
  const TensorView views[] = {view_of("losses", values), view_of("dsoft", gradient)};
  write_safetensors(argv[4], views);
  json drawn = json::array();
  for (const ForcedRow& row : rows) {
    drawn.push_back({{"prompt", row.prompt}, {"read", row.read}, {"targets", row.targets}});
  }
  std::puts(drawn.dump().c_str());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) return 2;
  try {
    run(argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
