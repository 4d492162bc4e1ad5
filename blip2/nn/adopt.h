#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "blip2/io/tensor_file.h"
#include "blip2/nn/linear.h"
#include "blip2/nn/norm.h"
#include "blip2/nn/word_table.h"

namespace blip2 {

// What a file's tensor becomes before it is in its place.
struct TensorChange {
  bool transposed = false;  // the file has [b, a], the place gets [a, b]
  // Heads whose rows the file has in pairs (2 i, 2 i + 1) for rope, as GGUF files do; the place
  // gets pairs (i, i + half a head). 0: the rows are as they should be.
  std::int64_t paired_heads = 0;
  double plus = 0.0;  // what is added to the file's numbers, in f32

  bool any() const { return transposed || paired_heads > 0 || plus != 0; }
  // A contiguous tensor.
  at::Tensor operator()(const at::Tensor& tensor) const;
};

// One tensor of a model: what its file calls it, where it belongs and how it comes there.
struct TensorSlot {
  std::string name;
  // A tensor that is replaced; or a parameter or buffer, which stays the same object with other
  // data and may be without memory before (without_memory).
  std::variant<at::Tensor*, at::Tensor> place;
  std::vector<std::int64_t> shape;  // as the file has it
  TensorChange change = {};
  // The layer that the tensor is a part of, if it has to be made ready: a layer's slots follow each
  // other, and once they are filled adopt() calls the layer's hold() or widen().
  Linear* linear = nullptr;
  Norm* norm = nullptr;
  // The layer's number in its stack; -1: the tensor belongs to no layer.
  std::int64_t layer = -1;
  // Where the tensor belongs instead of `place` if the file has it in GGUF's blocks and these are
  // kept (MatrixForm::blocks); null: it is widened.
  BlockMatrix* blocks = nullptr;
  WordTable* table = nullptr;

  // What is in the place now.
  const at::Tensor& tensor() const;
  // Of a layer that may hold its matrices in another form.
  bool is_matrix() const { return linear && shape.size() == 2; }
};

// The slots of a module's parameters and buffers, by their names in it, in declaration order.
std::vector<TensorSlot> slots_of(const torch::nn::Module& module);

struct AdoptOptions {
  std::string part = "model";            // what errors and the progress bar call it
  at::ScalarType type = at::kFloat;      // of floating-point tensors; others stay as they are
  bool own = false;                      // memory of their own, for tensors that will change
  MatrixForm form = MatrixForm::stored;  // of the layers' matrices
  std::string prefix = {};               // of the file's names; the patterns fit what follows it
  // Slots that may stay empty, and tensors that may be there without a slot; `*` stands for any run
  // of characters.
  std::vector<std::string> optional = {}, ignored = {};
};

// Fills every slot with the file's tensor of its name, one at a time. A tensor that the file has in
// the right type, and that neither changes nor has to have memory of its own, stays in the mapped
// file, which then lives as long as it; matrices that become int8 are rounded from the file's own
// numbers. All others are converted, and what has been read of them is let go.
//
// Strict: throws one Error (TensorFile::refuse) for all missing, unexpected (under the prefix),
// mis-shaped and mis-typed tensors, by the names in the file on disk, having changed nothing.
// is_old_buffer tensors are passed over. The slots are filled on this thread.
void adopt(const std::shared_ptr<const TensorFile>& file, const std::vector<TensorSlot>& slots,
           const AdoptOptions& options = {});
// Throws the same Error without filling a slot.
void check_slots(const std::shared_ptr<const TensorFile>& file,
                 const std::vector<TensorSlot>& slots, const AdoptOptions& options);

// Whether one of the patterns fits the name; `*` stands for any run of characters.
bool matches_any(std::string_view name, const std::vector<std::string>& patterns);

// Whether a tensor is a buffer that earlier versions of transformers saved with a model and that
// holds nothing learnt: "…position_ids", "…rotary_emb.inv_freq".
bool is_old_buffer(std::string_view name);

}  // namespace blip2
