#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <string_view>
#include <vector>

#include "blip2/io/byte_reader.h"
#include "blip2/io/tensor_view.h"

namespace blip2 {

// A pickle may have at most so many values (enough for some 50,000 tensors), which bounds memory.
constexpr std::size_t kMaxPickleValues = 1u << 20;

// A storage that a pickle refers to by key; its bytes lie elsewhere in the file.
struct PickledStorage {
  DType dtype = DType::u8;
  std::string_view key;
  std::int64_t numel = 0;
};

// A view of a storage as torch._utils._rebuild_tensor_v2 describes it. The numbers are not checked.
struct PickledTensor {
  PickledStorage storage;
  std::int64_t offset = 0;  // in elements
  std::vector<std::int64_t> shape, strides;
};

// The globals that a pickle may name; nothing is ever imported or called.
enum class PickledGlobal { rebuild_tensor, rebuild_parameter, ordered_dict, size, storage, dtype };

struct PickleValue {
  enum class Kind {
    none,
    boolean,
    integer,
    number,
    text,
    tuple,
    list,
    dict,
    global,
    storage,
    tensor
  };
  Kind kind = Kind::none;
  std::int64_t integer = 0;  // boolean, integer
  double number = 0;
  std::string_view text;            // text; the name of a dtype
  std::vector<PickleValue*> items;  // tuple, list; dict: key, value, key, value, …
  PickledGlobal global = PickledGlobal::size;
  DType dtype = DType::u8;  // of a global storage
  PickledStorage storage;
  const PickledTensor* tensor = nullptr;
};

// Runs one pickle (protocols 2 to 5, the opcodes that torch.save writes) as a pure data machine.
// Values may be shared and may contain themselves: walk them with a limit. They live as long as the
// Pickle and the bytes it was read from.
class Pickle {
 public:
  // Reads from the reader's position and leaves it behind the STOP opcode. Throws Error with the
  // offset for a global outside the list (named), an unknown opcode, or a malformed stream.
  explicit Pickle(ByteReader& reader);

  const PickleValue& root() const { return *root_; }
  // The storages referred to, by key.
  const std::map<std::string_view, PickledStorage>& storages() const { return storages_; }

 private:
  using Kind = PickleValue::Kind;

  void run();
  bool scalar(std::uint8_t opcode);
  bool text(std::uint8_t opcode);
  bool container(std::uint8_t opcode);
  bool memo(std::uint8_t opcode);
  bool object(std::uint8_t opcode);

  PickleValue& push(Kind kind);
  void push(PickleValue* value);
  void push_integer(std::int64_t value);
  void push_text(std::uint64_t length);
  void push_long(std::uint64_t length);
  void push_tuple(std::size_t count);
  void push_global(std::string_view module, std::string_view name);
  PickleValue* pop();
  PickleValue& top(Kind kind, const char* what);
  std::vector<PickleValue*> pop_to_mark();
  void remember(std::uint64_t index);
  void recall(std::uint64_t index);
  void set_items(const std::vector<PickleValue*>& items);
  void append(const std::vector<PickleValue*>& items);
  void build();
  void reduce();
  void reduce_ordered_dict(const PickleValue& arguments);
  void rebuild_tensor(const PickleValue& arguments);
  void load_storage();
  std::vector<std::int64_t> integers(const PickleValue& value, const char* what) const;
  const PickleValue& argument(const PickleValue& tuple, std::size_t index, Kind kind,
                              const char* what) const;

  ByteReader& reader_;
  std::deque<PickleValue> values_;
  std::deque<PickledTensor> tensors_;
  std::map<std::string_view, PickledStorage> storages_;
  std::map<std::uint64_t, PickleValue*> memo_;
  std::vector<PickleValue*> stack_;
  std::vector<std::size_t> marks_;
  std::size_t copied_ = 0;  // items of OrderedDict's arguments, which a memo could multiply
  const PickleValue* root_ = nullptr;
};

}  // namespace blip2
