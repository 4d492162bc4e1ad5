// language_bench MODEL [bf16|f32] [nothing but]: speed of a frozen decoder. MODEL is a GGUF file or
// a Hugging Face directory. One JSON line: decode tokens/s of one row and of eight, prefill
// tokens/s of short rows and of one of 512, the same of a GGUF file whose blocks stay as they are
// ("blocks", in turn with the widened ones), seconds of a training pass (forward and backward to
// the embeddings with the loss at a third of the positions) and its share of the matrix peak. Any
// third word leaves training out. bench/language_speed.py measures the same in PyTorch and
// llama.cpp and prints the ratios.
#include <ATen/Parallel.h>

#include <algorithm>
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

// Tokens/s; the best of several rounds, which the forms take in turn.
struct Speeds {
  double decode = 0, decode8 = 0, prefill = 0, prefill512 = 0;

  void measure(const std::shared_ptr<LanguageModel>& model) {
    decode = std::max(decode, decode_speed(model, 1));
    decode8 = std::max(decode8, decode_speed(model, 8));
    prefill = std::max(prefill, prefill_speed(model, 16, 24));
    prefill512 = std::max(prefill512, prefill_speed(model, 1, 512));
  }
  nlohmann::json json() const {
    return {{"decode_tokens_per_second", decode},
            {"decode_8_rows_tokens_per_second", decode8},
            {"prefill_tokens_per_second", prefill},
            {"prefill_512_tokens_per_second", prefill512}};
  }
};

struct Speed {
  Speeds widened, blocks;
};

Speed measure_in_turn(const LanguageFiles& files, at::ScalarType dtype) {
  const auto& views = files.weights->tensors();
  const bool quantised = std::any_of(
      views.begin(), views.end(), [](const TensorView& view) { return is_block_type(view.dtype); });
  const auto widened = load_language_model(files.weights, files.config, dtype);
  std::shared_ptr<LanguageModel> blocks;
  if (quantised) {
    blocks = load_language_model(files.weights, files.config, at::kFloat, {}, MatrixForm::blocks);
  }
  Speed speed;
  for (int round = 0; round < 3; ++round) {
    speed.widened.measure(widened);
    if (blocks) speed.blocks.measure(blocks);
  }
  return speed;
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

nlohmann::json training(const LanguageFiles& files, at::ScalarType dtype) {
  const DecoderConfig& c = files.config;
  const auto trained = load_language_model(files.weights, c, dtype, {}, MatrixForm::joined);
  const double seconds = training_seconds(trained, 40, 24), peak = peak_flops(dtype);
  const double layer =
      c.hidden_size * (c.qkv_width() + c.query_width() + 3.0 * c.intermediate_size);
  const double flops = 4.0 * 40 * 24 * layer * c.num_hidden_layers +
                       4.0 * 40 * 8 * c.vocab_size * static_cast<double>(c.hidden_size);
  return {{"training_seconds", seconds},
          {"training_gflops", flops / seconds / 1e9},
          {"peak_gflops", peak / 1e9},
          {"training_share_of_peak", flops / seconds / peak}};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::cerr << "language_bench MODEL.gguf [bf16|f32] [nothing but]\n";
    return 2;
  }
  const auto dtype = argc > 2 && std::string(argv[2]) == "f32" ? at::kFloat : at::kBFloat16;
  const LanguageFiles files = open_language_files(argv[1]);
  const Speed speed = measure_in_turn(files, dtype);
  nlohmann::json result = speed.widened.json();
  result["kernels"] = kernels_name();
  if (speed.blocks.decode > 0) result["blocks"] = speed.blocks.json();
  if (argc < 4) result.update(training(files, dtype));
  std::cout << result.dump() << "\n";
  return 0;
}
