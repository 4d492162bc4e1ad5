// language_bench MODEL [bf16|f32]: speed of a frozen decoder. MODEL is a GGUF file or a Hugging
// Face directory. One JSON line: decode tokens/s of one row, prefill tokens/s, seconds of a
// training pass (forward and backward to the embeddings with the loss at a third of the positions)
// and its share of the matrix peak. bench/language_speed.py measures the same in PyTorch and prints
// the ratios.
#include <ATen/Parallel.h>

#include <chrono>
#include <iostream>
#include <nlohmann/json.hpp>

#include "blip2/language/language_model.h"
#include "blip2/nn/kernels/kernels.h"

namespace {

using namespace blip2;

double seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double best_of(int times, const std::function<void()>& work) {
  double best = seconds_of(work);
  for (int i = 1; i < times; ++i) best = std::min(best, seconds_of(work));
  return best;
}

double peak_flops(at::ScalarType dtype) {
  const at::Tensor a = at::ones({2048, 2048}, dtype), b = at::ones({2048, 2048}, dtype);
  return 2.0 * 2048 * 2048 * 2048 / best_of(8, [&] { at::mm(a, b); });
}

double decode_speed(const std::shared_ptr<LanguageModel>& model, int rows) {
  constexpr int tokens = 32;
  const auto session = model->make_session(64);
  std::vector<std::int64_t> offsets = {0};
  for (int i = 0; i < rows; ++i) offsets.push_back(offsets.back() + 8);
  session->prompt(model->embed(at::ones({8 * rows}, at::kLong)), offsets);
  const std::vector<std::int32_t> next(static_cast<std::size_t>(rows), 100);
  session->advance(next);
  return tokens * rows / best_of(3, [&] {
           for (int i = 0; i < tokens; ++i) session->advance(next);
         });
}

double prefill_speed(const std::shared_ptr<LanguageModel>& model, int rows, int length) {
  const at::Tensor embeds = model->embed(at::ones({rows * length}, at::kLong));
  std::vector<std::int64_t> offsets = {0};
  for (int i = 0; i < rows; ++i) offsets.push_back(offsets.back() + length);
  return rows * length / best_of(3, [&] { model->make_session(64)->prompt(embeds, offsets); });
}

double training_seconds(const std::shared_ptr<LanguageModel>& model, int rows, int length) {
  at::Tensor embeds = at::randn({rows * length, model->width()}).requires_grad_();
  std::vector<std::int64_t> offsets = {0}, positions;
  for (int i = 0; i < rows; ++i) {
    offsets.push_back(offsets.back() + length);
    for (int t = 2 * length / 3; t < length; ++t) positions.push_back(offsets[i] + t);
  }
  const at::Tensor index = at::tensor(positions), targets = at::full_like(index, 42);
  return best_of(5, [&] {
    const at::Tensor hidden = model->forward_packed(embeds, offsets);
    model->token_loss(hidden.index_select(0, index), targets).mean().backward();
  });
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::cerr << "language_bench MODEL.gguf [bf16|f32]\n";
    return 2;
  }
  const auto dtype = argc > 2 && std::string(argv[2]) == "f32" ? at::kFloat : at::kBFloat16;
  const auto [c, weights] = open_language_files(argv[1]);
  const auto model = load_language_model(weights, c, dtype);
  const double decode = decode_speed(model, 1), decode8 = decode_speed(model, 8);
  const double prefill = prefill_speed(model, 16, 24);
  const auto trained = load_language_model(weights, c, dtype, {}, MatrixForm::joined);
  const double training = training_seconds(trained, 40, 24), peak = peak_flops(dtype);
  const double layer =
      c.hidden_size * (c.qkv_width() + c.query_width() + 3.0 * c.intermediate_size);
  const double flops = 4.0 * 40 * 24 * layer * c.num_hidden_layers +
                       4.0 * 40 * 8 * c.vocab_size * static_cast<double>(c.hidden_size);
  std::cout << nlohmann::json{{"kernels", kernels_name()},
                              {"decode_tokens_per_second", decode},
                              {"decode_8_rows_tokens_per_second", decode8},
                              {"prefill_tokens_per_second", prefill},
                              {"training_seconds", training},
                              {"training_gflops", flops / training / 1e9},
                              {"peak_gflops", peak / 1e9},
                              {"training_share_of_peak", flops / training / peak}}
                   .dump()
            << "\n";
  return 0;
}
