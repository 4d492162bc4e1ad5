#include "blip2/io/pickle.h"

#include <fmt/format.h>

#include <bit>
#include <optional>
#include <string>
#include <utility>

#include "blip2/base/error.h"
#include "blip2/io/utf8.h"

// Opcodes and their operands: CPython's Lib/pickletools.py.

namespace blip2 {
namespace {

constexpr std::size_t kMaxValues = 1u << 20;  // some 50,000 tensors; bounds memory
constexpr std::size_t kMaxDimensions = 64;    // PyTorch's own limit
constexpr std::size_t kMaxLine = 256;         // of a global's module or name

constexpr std::uint8_t kStop = '.';

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

std::string_view line(ByteReader& reader) {
  std::uint64_t length = 0;
  ByteReader ahead = reader;
  while (ahead.read<char>("a global's name") != '\n') {
    if (++length > kMaxLine) reader.fail("a global's name is longer than 256 bytes");
  }
  const std::string_view text = reader.text(length, "a global's name");
  reader.take(1, "a line end");
  return text;
}

}  // namespace

Pickle::Pickle(ByteReader& reader) : reader_(reader) {
  run();
  if (stack_.size() != 1 || !marks_.empty()) {
    reader_.fail(
        fmt::format("the pickle ends with {} values on its stack, expected 1", stack_.size()));
  }
  root_ = stack_.back();
}

void Pickle::run() {
  for (;;) {
    const auto opcode = reader_.read<std::uint8_t>("a pickle opcode");
    if (opcode == kStop) return;
    if (!scalar(opcode) && !text(opcode) && !container(opcode) && !memo(opcode) &&
        !object(opcode)) {
      reader_.fail(fmt::format("unknown or refused pickle opcode 0x{:02x}", opcode),
                   "only what torch.save writes for tensors in plain containers is read");
    }
  }
}

bool Pickle::scalar(std::uint8_t opcode) {
  switch (opcode) {
    case 'N':
      push(Kind::none);
      return true;
    case 0x88:
      push(Kind::boolean).integer = 1;
      return true;
    case 0x89:
      push(Kind::boolean).integer = 0;
      return true;
    case 'J':
      push_integer(reader_.read<std::int32_t>("an integer"));
      return true;
    case 'K':
      push_integer(reader_.read<std::uint8_t>("an integer"));
      return true;
    case 'M':
      push_integer(reader_.read<std::uint16_t>("an integer"));
      return true;
    case 0x8a:
      push_long(reader_.read<std::uint8_t>("an integer's length"));
      return true;
    case 0x8b:
      push_long(reader_.read<std::uint32_t>("an integer's length"));
      return true;
    case 'G': {
      const auto bits = __builtin_bswap64(reader_.read<std::uint64_t>("a number"));
      push(Kind::number).number = std::bit_cast<double>(bits);
      return true;
    }
    default:
      return false;
  }
}

bool Pickle::text(std::uint8_t opcode) {
  switch (opcode) {
    case 0x8c:
    case 'U':
    case 'C':
      push_text(reader_.read<std::uint8_t>("a string's length"));
      return true;
    case 'X':
    case 'T':
    case 'B':
      push_text(reader_.read<std::uint32_t>("a string's length"));
      return true;
    case 0x8d:
    case 0x8e:
      push_text(reader_.read<std::uint64_t>("a string's length"));
      return true;
    default:
      return false;
  }
}

bool Pickle::container(std::uint8_t opcode) {
  switch (opcode) {
    case '(':
      if (marks_.size() >= kMaxValues) reader_.fail("the pickle holds too many marks");
      marks_.push_back(stack_.size());
      return true;
    case ')':
      push_tuple(0);
      return true;
    case 0x85:
      push_tuple(1);
      return true;
    case 0x86:
      push_tuple(2);
      return true;
    case 0x87:
      push_tuple(3);
      return true;
    case 't': {
      auto items = pop_to_mark();
      push(Kind::tuple).items = std::move(items);
      return true;
    }
    case ']':
      push(Kind::list);
      return true;
    case '}':
      push(Kind::dict);
      return true;
    case 'a':
      append({pop()});
      return true;
    case 'e':
      append(pop_to_mark());
      return true;
    case 's': {
      PickleValue* value = pop();
      PickleValue* key = pop();
      set_items({key, value});
      return true;
    }
    case 'u':
      set_items(pop_to_mark());
      return true;
    default:
      return false;
  }
}

bool Pickle::memo(std::uint8_t opcode) {
  switch (opcode) {
    case 'q':
      remember(reader_.read<std::uint8_t>("a memo index"));
      return true;
    case 'r':
      remember(reader_.read<std::uint32_t>("a memo index"));
      return true;
    case 0x94:
      remember(memo_.size());
      return true;
    case 'h':
      recall(reader_.read<std::uint8_t>("a memo index"));
      return true;
    case 'j':
      recall(reader_.read<std::uint32_t>("a memo index"));
      return true;
    case '0':
      pop();
      return true;
    case '1':
      pop_to_mark();
      return true;
    default:
      return false;
  }
}

bool Pickle::object(std::uint8_t opcode) {
  switch (opcode) {
    case 0x80:
      if (const auto protocol = reader_.read<std::uint8_t>("the pickle protocol");
          protocol < 2 || protocol > 5) {
        reader_.fail(fmt::format("expected pickle protocol 2 to 5, got {}", protocol));
      }
      return true;
    case 0x95:
      reader_.read<std::uint64_t>("a frame's length");
      return true;
    case 'c': {
      const auto module = line(reader_);
      push_global(module, line(reader_));
      return true;
    }
    case 0x93: {
      const PickleValue *name = pop(), *module = pop();
      if (module->kind != Kind::text || name->kind != Kind::text) {
        reader_.fail("a global's module and name are not strings");
      }
      push_global(module->text, name->text);
      return true;
    }
    case 'Q':
      load_storage();
      return true;
    case 'R':
      reduce();
      return true;
    case 'b':
      build();
      return true;
    default:
      return false;
  }
}

PickleValue& Pickle::push(Kind kind) {
  if (values_.size() >= kMaxValues) {
    reader_.fail(fmt::format("the pickle holds more than {} values", kMaxValues));
  }
  PickleValue& value = values_.emplace_back();
  value.kind = kind;
  push(&value);
  return value;
}

void Pickle::push(PickleValue* value) {
  if (stack_.size() >= kMaxValues) {
    reader_.fail(fmt::format("the pickle stacks more than {} values", kMaxValues));
  }
  stack_.push_back(value);
}

void Pickle::push_integer(std::int64_t value) {
  push(Kind::integer).integer = value;
}

void Pickle::push_text(std::uint64_t length) {
  const std::string_view text = reader_.text(length, "a string");
  push(Kind::text).text = text;
}

// A little-endian two's complement number of any length; beyond 64 bits none is needed here.
void Pickle::push_long(std::uint64_t length) {
  if (length > 8) reader_.fail(fmt::format("an integer of {} bytes, expected at most 8", length));
  std::uint64_t bits = 0;
  const auto bytes = reader_.take(length, "an integer");
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    bits |= std::to_integer<std::uint64_t>(bytes[i]) << (8 * i);
  }
  const bool negative = !bytes.empty() && (bytes.back() & std::byte{0x80}) != std::byte{0};
  if (negative && length < 8) bits |= ~std::uint64_t{0} << (8 * length);
  push_integer(static_cast<std::int64_t>(bits));
}

void Pickle::push_tuple(std::size_t count) {
  std::vector<PickleValue*> items(count);
  for (std::size_t i = count; i-- > 0;) items[i] = pop();
  push(Kind::tuple).items = std::move(items);
}

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

PickleValue* Pickle::pop() {
  const std::size_t floor = marks_.empty() ? 0 : marks_.back();
  if (stack_.size() <= floor) reader_.fail("the pickle takes a value from an empty stack");
  PickleValue* value = stack_.back();
  stack_.pop_back();
  return value;
}

PickleValue& Pickle::top(Kind kind, const char* what) {
  const std::size_t floor = marks_.empty() ? 0 : marks_.back();
  if (stack_.size() <= floor || stack_.back()->kind != kind) {
    reader_.fail(fmt::format("expected {} on the pickle's stack", what));
  }
  return *stack_.back();
}

std::vector<PickleValue*> Pickle::pop_to_mark() {
  if (marks_.empty()) reader_.fail("the pickle closes a mark that it did not set");
  const auto first = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
  std::vector<PickleValue*> items(first, stack_.end());
  stack_.erase(first, stack_.end());
  marks_.pop_back();
  return items;
}

void Pickle::remember(std::uint64_t index) {
  if (stack_.empty()) reader_.fail("the pickle remembers a value of an empty stack");
  memo_[index] = stack_.back();
  if (memo_.size() > kMaxValues) reader_.fail("the pickle remembers too many values");
}

void Pickle::recall(std::uint64_t index) {
  const auto found = memo_.find(index);
  if (found == memo_.end()) {
    reader_.fail(fmt::format("the pickle recalls memo {}, which was never set", index));
  }
  push(found->second);
}

void Pickle::set_items(const std::vector<PickleValue*>& items) {
  PickleValue& dict = top(Kind::dict, "a dictionary");
  if (items.size() % 2 != 0) reader_.fail("a dictionary's key lacks its value");
  dict.items.insert(dict.items.end(), items.begin(), items.end());
}

void Pickle::append(const std::vector<PickleValue*>& items) {
  PickleValue& list = top(Kind::list, "a list");
  list.items.insert(list.items.end(), items.begin(), items.end());
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
    if (copied_ > kMaxValues) reader_.fail("the pickle builds too many dictionary entries");
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
