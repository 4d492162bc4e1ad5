#include "blip2/nn/adopt.h"

#include <fmt/format.h>
#include <fnmatch.h>

#include <algorithm>
#include <set>
#include <utility>

#include "blip2/nn/load_progress.h"
#include "blip2/nn/tensor_bridge.h"

namespace blip2 {
namespace {

// Whether the place holds whole numbers or truth values, which keep their type.
bool is_integral(const TensorSlot& slot) {
  const auto* parameter = std::get_if<at::Tensor>(&slot.place);
  return parameter && !parameter->is_floating_point();
}

// What does not fit of the slot's tensor, which is there; empty if it fits.
std::string fault_of(const TensorSlot& slot, const TensorView& view) {
  if (view.shape != slot.shape) {
    return fmt::format("expected shape {}, got {}", shape_text(slot.shape), shape_text(view.shape));
  }
  const auto type = scalar_type_of(view.dtype);
  if (type ? is_integral(slot) || c10::isFloatingType(*type) : !is_listed_only(view.dtype)) {
    return {};
  }
  const std::string_view name = dtype_name(view.dtype);
  if (is_quantised(view.dtype)) return fmt::format("{} cannot be computed with", name);
  return fmt::format("expected a floating-point type, got {}", name);
}

class Adoption {
 public:
  Adoption(std::shared_ptr<const TensorFile> file, const std::vector<TensorSlot>& slots,
           const AdoptOptions& options)
      : file_(std::move(file)), slots_(slots), options_(options) {
    for (const TensorSlot& slot : slots) views_.push_back(file_->find(full(slot)));
  }

  void check() const {
    std::vector<std::string> faults;
    std::set<std::string> wanted;
    for (std::size_t i = 0; i < slots_.size(); ++i) {
      wanted.insert(full(slots_[i]));
      const std::string fault = fault_at(i);  // two slots may ask for one tensor
      if (!fault.empty() && std::ranges::count(faults, fault) == 0) faults.push_back(fault);
    }
    for (const TensorView& view : file_->tensors()) {
      if (wanted.contains(view.name) || is_passed_over(view.name)) continue;
      faults.push_back(fmt::format("{}: not a tensor of this model, got shape {}", view.name,
                                   shape_text(view.shape)));
    }
    file_->refuse(faults, options_.part);
  }

  void fill() const {
    std::uint64_t bytes = 0;
    for (std::size_t i = 0; i < slots_.size(); ++i) bytes += converted_bytes(i);
    LoadProgress progress(options_.part, bytes);
    for (std::size_t begin = 0, end; begin < slots_.size(); begin = end) {
      end = end_of_layer(begin);
      for (std::size_t i = begin; i < end; ++i) {
        if (!views_[i]) continue;
        const TensorSlot& slot = slots_[i];
        if (!keeps_blocks(i)) {
          put(slot, read(i));
        } else if (slot.blocks) {
          *slot.blocks = blocks_of(i);
        } else {
          *slot.table = WordTable(*views_[i], file_);  // and has looked at all its scales
        }
        progress.add(converted_bytes(i));
        if (!stays(i) || keeps_blocks(i)) file_->release(*views_[i]);
      }
      make_ready(begin, end);
    }
    progress.finish();
  }

 private:
  std::string full(const TensorSlot& slot) const { return options_.prefix + slot.name; }

  // What does not fit of slot i, under the name that the file on disk has for it.
  std::string fault_at(std::size_t i) const {
    const TensorSlot& slot = slots_[i];
    const std::string name = full(slot), stored = file_->stored_name(name);
    if (views_[i]) {
      const std::string fault = fault_of(slot, *views_[i]);
      if (fault.empty()) return {};
      return fmt::format("{}{}: {}", stored, stored == name ? "" : ", for " + name, fault);
    }
    if (matches_any(slot.name, options_.optional)) return {};
    const std::string shape = shape_text(slot.shape);
    if (stored == name) return fmt::format("{}: missing, expected shape {}", name, shape);
    return fmt::format("{}: missing, for {} of shape {}", stored, name, shape);
  }

  bool is_passed_over(std::string_view name) const {
    if (!name.starts_with(options_.prefix) || is_old_buffer(name)) return true;
    return matches_any(name.substr(options_.prefix.size()), options_.ignored);
  }

  bool becomes_int8(const TensorSlot& slot) const {
    return slot.is_matrix() && options_.form == MatrixForm::int8;
  }

  at::ScalarType type_of(std::size_t i) const {
    if (is_integral(slots_[i])) return std::get<at::Tensor>(slots_[i].place).scalar_type();
    if (!becomes_int8(slots_[i])) return options_.type;
    return scalar_type_of(views_[i]->dtype).value_or(at::kFloat);
  }

  bool keeps_blocks(std::size_t i) const {
    return options_.form == MatrixForm::blocks && (slots_[i].blocks || slots_[i].table) &&
           is_block_type(views_[i]->dtype);
  }

  // The matrix in the file's blocks, whose rows move as a change wants it.
  BlockMatrix blocks_of(std::size_t i) const {
    const TensorView& view = *views_[i];
    std::vector<std::int32_t> rows;
    if (slots_[i].change.paired_heads > 0) {
      const std::int64_t count = view.shape[0];
      const at::Tensor order = slots_[i].change(at::arange(count, at::kInt).view({count, 1}));
      const auto* data = order.const_data_ptr<std::int32_t>();
      rows.assign(data, data + count);
    }
    return BlockMatrix(view, rows, file_->path().string());
  }

  // Whether the tensor lies in the file as it is needed.
  bool stays(std::size_t i) const {
    if (keeps_blocks(i)) return slots_[i].table != nullptr;
    return !options_.own && !slots_[i].change.any() &&
           scalar_type_of(views_[i]->dtype) == type_of(i);
  }

  std::uint64_t converted_bytes(std::size_t i) const {
    return !views_[i] || stays(i) ? 0 : views_[i]->data.size();
  }

  // The tensor as its place needs it.
  at::Tensor read(std::size_t i) const {
    if (stays(i)) return borrow(*views_[i], file_);
    const TensorChange& change = slots_[i].change;
    const at::Tensor values =
        to_tensor(*views_[i], change.plus == 0 ? type_of(i) : at::ScalarType::Float);
    return change.any() ? change(values).to(type_of(i)) : values;
  }

  static void put(const TensorSlot& slot, at::Tensor tensor) {
    if (at::Tensor* const* place = std::get_if<at::Tensor*>(&slot.place)) {
      **place = std::move(tensor);
    } else {
      at::Tensor parameter = std::get<at::Tensor>(slot.place);
      parameter.set_data(tensor);
    }
  }

  std::size_t end_of_layer(std::size_t begin) const {
    std::size_t end = begin + 1;
    while (end < slots_.size() && slots_[end].linear == slots_[begin].linear &&
           slots_[end].norm == slots_[begin].norm) {
      ++end;
    }
    return end;
  }

  void make_ready(std::size_t begin, std::size_t end) const {
    if (slots_[begin].norm) slots_[begin].norm->widen();
    if (!slots_[begin].linear) return;
    slots_[begin].linear->hold(options_.form);
    for (std::size_t i = begin; i < end; ++i) {
      const bool packed = slots_[i].is_matrix() && options_.form == MatrixForm::packed;
      if (views_[i] && (packed || becomes_int8(slots_[i]))) file_->release(*views_[i]);
    }
  }

  std::shared_ptr<const TensorFile> file_;
  const std::vector<TensorSlot>& slots_;
  const AdoptOptions& options_;
  std::vector<const TensorView*> views_;  // of each slot; null: not there
};

}  // namespace

at::Tensor TensorChange::operator()(const at::Tensor& tensor) const {
  at::Tensor changed = tensor;
  if (paired_heads > 0) {
    const std::int64_t half = tensor.size(0) / paired_heads / 2;
    changed = tensor.view({paired_heads, half, 2, -1}).transpose(1, 2).reshape(tensor.sizes());
  }
  if (plus != 0) changed = changed + plus;
  return (transposed ? changed.t() : changed).contiguous();
}

const at::Tensor& TensorSlot::tensor() const {
  const auto* parameter = std::get_if<at::Tensor>(&place);
  return parameter ? *parameter : *std::get<at::Tensor*>(place);
}

std::vector<TensorSlot> slots_of(const torch::nn::Module& module) {
  std::vector<TensorSlot> slots;
  for (auto& [name, tensor] : members_of(module)) {
    slots.push_back({name, tensor, tensor.sizes().vec()});
  }
  return slots;
}

void adopt(const std::shared_ptr<const TensorFile>& file, const std::vector<TensorSlot>& slots,
           const AdoptOptions& options) {
  const c10::InferenceMode no_inference(false);
  const torch::NoGradGuard no_grad;
  const Adoption adoption(file, slots, options);
  adoption.check();
  adoption.fill();
}

void check_slots(const std::shared_ptr<const TensorFile>& file,
                 const std::vector<TensorSlot>& slots, const AdoptOptions& options) {
  Adoption(file, slots, options).check();
}

bool matches_any(std::string_view name, const std::vector<std::string>& patterns) {
  const std::string text(name);
  return std::ranges::any_of(patterns, [&](const std::string& pattern) {
    return fnmatch(pattern.c_str(), text.c_str(), 0) == 0;
  });
}

bool is_old_buffer(std::string_view name) {
  return name.ends_with("position_ids") || name.ends_with("rotary_emb.inv_freq");
}

}  // namespace blip2
