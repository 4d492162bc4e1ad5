#include <fmt/format.h>

#include <optional>
#include <utility>

#include "blip2/io/pickle_internal.h"
#include "blip2/io/utf8.h"

// What torch.save puts into pickles beyond plain values: storages, tensors and their containers
// (torch/_utils.py, torch/serialization.py).

namespace blip2 {
namespace {

constexpr std::size_t kMaxDimensions = 64;  // PyTorch's own limit

struct Allowed {
  PickledGlobal global;
  DType dtype = DType::u8;
};

std::optional<DType> storage_dtype(std::string_view name) {
  static const std::map<std::string_view, DType> kinds{
      {"FloatStorage", DType::f32},     {"HalfStorage", DType::f16},
      {"BFloat16Storage", DType::bf16}, {"DoubleStorage", DType::f64},
      {"LongStorage", DType::i64},      {"IntStorage", DType::i32},
      {"ShortStorage", DType::i16},     {"CharStorage", DType::i8},
      {"ByteStorage", DType::u8},       {"BoolStorage", DType::boolean},
      {"UntypedStorage", DType::u8}};
  const auto found = kinds.find(name);
  return found == kinds.end() ? std::nullopt : std::optional(found->second);
}

bool is_dtype(std::string_view name) {
  for (const std::string_view known : {"float32", "float16", "bfloat16", "float64", "int64",
                                       "int32", "int16", "int8", "uint8", "bool"}) {
    if (name == known) return true;
  }
  return false;
}

// The whole list of globals that a file may name.
std::optional<Allowed> allowed_global(std::string_view module, std::string_view name) {
  using G = PickledGlobal;
  if (module == "torch._utils" && name == "_rebuild_tensor_v2")
    return Allowed{G::rebuild_tensor, {}};
  if (module == "torch._utils" && name == "_rebuild_parameter") {
    return Allowed{G::rebuild_parameter, {}};
  }
  if (module == "collections" && name == "OrderedDict") return Allowed{G::ordered_dict, {}};
  if (module == "torch" && name == "Size") return Allowed{G::size, {}};
  if (module == "torch" && is_dtype(name)) return Allowed{G::dtype, {}};
  if (module == "torch" || module == "torch.cuda" || module == "torch.storage") {
    if (const auto dtype = storage_dtype(name)) return Allowed{G::storage, *dtype};
  }
  return std::nullopt;
}

}  // namespace

void Pickle::push_global(std::string_view module, std::string_view name) {
  const auto allowed = allowed_global(module, name);
  if (!allowed) {
    reader_.fail(
        fmt::format("the pickle names {}.{}, which is not allowed", printable(module),
                    printable(name)),
        "only tensors in plain containers are read, and no code of a file is ever run; save "
        "model.state_dict() with torch.save");
  }
  PickleValue& value = push(Kind::global);
  value.global = allowed->global;
  value.dtype = allowed->dtype;
  value.text = name;
}

// The only state that a state dict carries is OrderedDict's _metadata (versions of modules).
void Pickle::build() {
  pop();
  top(Kind::dict, "a dictionary");
}

void Pickle::reduce() {
  const PickleValue& arguments = top(Kind::tuple, "a tuple of arguments");
  pop();
  const PickleValue& global = top(Kind::global, "an allowed global");
  pop();
  switch (global.global) {
    case PickledGlobal::rebuild_tensor:
      return rebuild_tensor(arguments);
    case PickledGlobal::rebuild_parameter: {
      const PickleValue& data = argument(arguments, 0, Kind::tensor, "a tensor");
      push(Kind::tensor).tensor = data.tensor;
      return;
    }
    case PickledGlobal::ordered_dict:
      return reduce_ordered_dict(arguments);
    case PickledGlobal::size: {
      argument(arguments, 0, Kind::tuple, "a tuple of sizes");
      push(arguments.items[0]);
      return;
    }
    case PickledGlobal::storage:
    case PickledGlobal::dtype:
      break;
  }
  reader_.fail(
      fmt::format("the pickle calls torch.{}, which is not allowed", printable(global.text)));
}

// OrderedDict() or, as Python 2 wrote it, OrderedDict([[key, value], …]).
void Pickle::reduce_ordered_dict(const PickleValue& arguments) {
  std::vector<PickleValue*> items;
  if (!arguments.items.empty()) {
    const PickleValue& pairs = argument(arguments, 0, Kind::list, "a list of pairs");
    copied_ += pairs.items.size();
    if (copied_ > kMaxPickleValues) reader_.fail("the pickle builds too many dictionary entries");
    for (const PickleValue* pair : pairs.items) {
      const bool sequence = pair->kind == Kind::list || pair->kind == Kind::tuple;
      if (!sequence || pair->items.size() != 2) reader_.fail("expected a pair of key and value");
      items.insert(items.end(), pair->items.begin(), pair->items.end());
    }
  }
  push(Kind::dict).items = std::move(items);
}

void Pickle::rebuild_tensor(const PickleValue& arguments) {
  PickledTensor tensor;
  tensor.storage = argument(arguments, 0, Kind::storage, "a storage").storage;
  tensor.offset = argument(arguments, 1, Kind::integer, "an offset").integer;
  tensor.shape = integers(argument(arguments, 2, Kind::tuple, "a shape"), "a shape");
  tensor.strides = integers(argument(arguments, 3, Kind::tuple, "strides"), "strides");
  if (tensor.shape.size() != tensor.strides.size()) {
    reader_.fail(fmt::format("a tensor of {} dimensions has {} strides", tensor.shape.size(),
                             tensor.strides.size()));
  }
  push(Kind::tensor).tensor = &tensors_.emplace_back(std::move(tensor));
}

// A persistent id: ("storage", type, key, device, number of elements[, None]).
void Pickle::load_storage() {
  const PickleValue& id = top(Kind::tuple, "a persistent id");
  pop();
  if (argument(id, 0, Kind::text, "\"storage\"").text != "storage") {
    reader_.fail("expected a persistent id of a storage");
  }
  const PickleValue& type = argument(id, 1, Kind::global, "a storage type");
  PickledStorage storage;
  storage.key = argument(id, 2, Kind::text, "a storage key").text;
  storage.numel = argument(id, 4, Kind::integer, "a number of elements").integer;
  if (type.global != PickledGlobal::storage || storage.numel < 0) {
    reader_.fail("malformed persistent id of a storage");
  }
  if (id.items.size() > 5 && id.items[5]->kind != Kind::none) {
    reader_.fail("views of storages are not supported", "save the file again with torch.save");
  }
  storage.dtype = type.dtype;
  const PickledStorage& first = storages_.emplace(storage.key, storage).first->second;
  if (first.numel != storage.numel || first.dtype != storage.dtype) {
    reader_.fail(fmt::format("storage \"{}\" is described in two ways", printable(storage.key)));
  }
  push(Kind::storage).storage = storage;
}

std::vector<std::int64_t> Pickle::integers(const PickleValue& value, const char* what) const {
  if (value.items.size() > kMaxDimensions) {
    reader_.fail(fmt::format("{} of {} dimensions, expected at most {}", what, value.items.size(),
                             kMaxDimensions));
  }
  std::vector<std::int64_t> numbers;
  for (const PickleValue* item : value.items) {
    if (item->kind != Kind::integer) reader_.fail(fmt::format("{} holds no integer", what));
    numbers.push_back(item->integer);
  }
  return numbers;
}

const PickleValue& Pickle::argument(const PickleValue& tuple, std::size_t index, Kind kind,
                                    const char* what) const {
  if (index >= tuple.items.size() || tuple.items[index]->kind != kind) {
    reader_.fail(fmt::format("expected {} as argument {}", what, index));
  }
  return *tuple.items[index];
}

}  // namespace blip2
