// blocks FILE.gguf IN.safetensors OUT.safetensors
//   Multiplies "x" [N, width] of IN with every matrix of FILE in its blocks, by every instruction
//   set that the machine has: "TENSOR by SET" [N, outs] f32. "TENSOR as DTYPE": the matrix widened.
#include <torch/torch.h>

#include <iostream>

#include "blip2/base/error.h"
#include "blip2/io/gguf.h"
#include "blip2/io/safetensors.h"
#include "blip2/nn/block_matrix.h"
#include "blip2/nn/kernels/tables_internal.h"
#include "blip2/nn/tensor_bridge.h"

namespace {

using namespace blip2;

at::Tensor product(const BlockKernels<float>& kernels, const BlockMatrix& matrix,
                   const at::Tensor& x) {
  const std::int64_t rows = x.size(0), width = x.size(1), outs = matrix.outs();
  std::vector<ActivationBlock> quantised(static_cast<std::size_t>(rows * width / kBlockWidth));
  kernels.quantise(x.const_data_ptr<float>(), rows, width, 0, rows * width / kBlockWidth,
                   quantised.data());
  at::Tensor y = at::empty({rows, outs});
  kernels.multiply(matrix.view(), quantised.data(), rows, 0, (outs + kGroupOuts - 1) / kGroupOuts,
                   Store::value_f32, y.mutable_data_ptr(), outs);
  return y;
}

void run(const char* file, const char* in, const char* out) {
  const auto source = open_tensor_file(file), input = open_tensor_file(in);
  const at::Tensor x = to_tensor(input->get("x"));
  std::vector<std::pair<std::string, at::Tensor>> results;
  for (const TensorView& tensor : source->tensors()) {
    const BlockMatrix matrix(tensor);
    for (const BlockKernelSet& set : runnable_block_kernels()) {
      results.emplace_back(tensor.name + " by " + set.name, product(*set.f32, matrix, x));
    }
    for (const auto type : {at::kFloat, at::kBFloat16}) {
      at::Tensor wide = at::empty({matrix.outs(), matrix.width()}, type);
      matrix.widen_into(wide);
      results.emplace_back(tensor.name + (type == at::kFloat ? " as f32" : " as bf16"), wide);
    }
  }
  std::vector<TensorView> views;
  for (const auto& [name, values] : results) views.push_back(view_of(name, values));
  write_safetensors(out, views);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc != 4) throw Error("expected FILE.gguf IN.safetensors OUT.safetensors");
    run(argv[1], argv[2], argv[3]);
    return 0;
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
}
