#include "blip2/io/pickle_internal.h"

#include <fmt/format.h>

#include <bit>
#include <string>
#include <utility>

#include "blip2/base/error.h"

// Opcodes and their operands: CPython's Lib/pickletools.py.

namespace blip2 {
namespace {

constexpr std::size_t kMaxLine = 256;  // of a global's module or name

constexpr std::uint8_t kStop = '.';

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
      if (marks_.size() >= kMaxPickleValues) reader_.fail("the pickle holds too many marks");
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
  if (values_.size() >= kMaxPickleValues) {
    reader_.fail(fmt::format("the pickle holds more than {} values", kMaxPickleValues));
  }
  PickleValue& value = values_.emplace_back();
  value.kind = kind;
  push(&value);
  return value;
}

void Pickle::push(PickleValue* value) {
  if (stack_.size() >= kMaxPickleValues) {
    reader_.fail(fmt::format("the pickle stacks more than {} values", kMaxPickleValues));
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
  if (memo_.size() > kMaxPickleValues) reader_.fail("the pickle remembers too many values");
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

}  // namespace blip2
