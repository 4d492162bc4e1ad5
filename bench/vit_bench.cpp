// vit_bench FOLDER [SECONDS]: speed of a frozen vision transformer. FOLDER is a Hugging Face
// directory with bf16 weights. One JSON line: pictures/s and GFLOPS one picture at a time with the
// weights in bf16 and quantised to Q8_0, each for SECONDS (1) a round, in turn with products of
// large bf16 matrices, whose rate is "gemm_gflops"; the best of three rounds. bench/vit_speed.py
// measures the same in transformers and prints the ratios.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>
#include <set>

#include "blip2/io/json.h"
#include "blip2/nn/block_matrix.h"
#include "blip2/nn/kernels/kernels.h"
#include "blip2/nn/tensor_bridge.h"
#include "blip2/vision/image_encoders.h"

namespace {

using namespace blip2;

// The file with the encoder's matrices in Q8_0.
class QuantisedFile : public TensorFile {
 public:
  QuantisedFile(std::shared_ptr<const TensorFile> file, const VitConfig& config,
                const std::string& prefix)
      : TensorFile(file->path()) {
    std::set<std::string> matrices;
    for (const std::string& name : matrix_names(config)) matrices.insert(prefix + name);
    for (TensorView view : file->tensors()) {
      if (matrices.contains(view.name)) {
        view.data = keep(quantise_matrix(to_tensor(view), DType::q8_0));
        view.dtype = DType::q8_0;
      }
      add(view);
    }
    keep(std::move(file));
  }
  std::string_view format() const override { return "quantised"; }
};

// Calls a second of `work`, by the fastest of those that begin within `seconds`.
double rate_of(double seconds, const std::function<void()>& work) {
  using Clock = std::chrono::steady_clock;
  work();
  double best = 0;
  for (const auto begin = Clock::now();
       Clock::now() - begin < std::chrono::duration<double>(seconds);) {
    const auto start = Clock::now();
    work();
    best = std::max(best, 1 / std::chrono::duration<double>(Clock::now() - start).count());
  }
  return best;
}

double gemm_rate(double seconds) {
  constexpr double kSide = 2048;
  const at::Tensor a = at::ones({2048, 2048}, at::kBFloat16), b = at::ones_like(a);
  return 2 * kSide * kSide * kSide * rate_of(seconds, [&] { at::mm(a, b); });
}

// Operations of one picture: products of the blocks and attention.
double flops_of(const VitConfig& c, double matrix_elements) {
  const auto rows = static_cast<double>(c.positions());
  const double attention = 4 * rows * rows * static_cast<double>(c.hidden_size * c.layers());
  return 2 * rows * matrix_elements + attention;
}

nlohmann::json measure(const std::filesystem::path& folder, double seconds) {
  const auto where = folder / "config.json";
  const auto config = read_vision_config(read_json(where), where.string());
  const auto& vit = std::get<VitConfig>(config);
  const std::shared_ptr<const TensorFile> file = open_model_weights(folder);
  const std::string prefix = find_encoder_prefix(*file, config);
  double elements = 0;
  for (const std::string& name : matrix_names(vit)) {
    elements += static_cast<double>(file->get(prefix + name).numel());
  }
  const auto quantised = std::make_shared<const QuantisedFile>(file, vit, prefix);
  const auto bf16 =
      load_image_encoder(file, config, prefix, at::kBFloat16, false, MatrixForm::packed);
  const auto q8 =
      load_image_encoder(quantised, config, prefix, at::kFloat, false, MatrixForm::blocks);
  const at::Tensor picture = torch::randn({1, 3, vit.image_size, vit.image_size});
  double gemm = 0, best[2] = {};
  for (int round = 0; round < 3; ++round) {
    gemm = std::max(gemm, gemm_rate(seconds / 2));
    best[0] = std::max(best[0], rate_of(seconds, [&] { bf16->forward(picture); }));
    best[1] = std::max(best[1], rate_of(seconds, [&] { q8->forward(picture); }));
  }
  const double flops = flops_of(vit, elements);
  const auto figures = [&](double rate) {
    return nlohmann::json{{"pictures_per_second", rate},
                          {"gflops", rate * flops / 1e9},
                          {"share_of_gemm", rate * flops / gemm}};
  };
  return {{"kernels", kernels_name()},
          {"threads", at::get_num_threads()},
          {"gemm_gflops", gemm / 1e9},
          {"bf16", figures(best[0])},
          {"q8_0", figures(best[1])}};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::cerr << "vit_bench FOLDER [SECONDS]\n";
    return 2;
  }
  const at::InferenceMode inference;
  std::cout << measure(argv[1], argc > 2 ? std::atof(argv[2]) : 1.0).dump() << "\n";
  return 0;
}
