#include "blip2/io/gguf_metadata_internal.h"

#include <fmt/format.h>

#include <algorithm>
#include <type_traits>
#include <utility>

#include "blip2/io/utf8.h"

namespace blip2 {
namespace {

constexpr int kMaxNesting = 8;

enum ValueType : std::uint32_t {
  u8,
  i8,
  u16,
  i16,
  u32,
  i32,
  f32,
  boolean,
  string,
  array,
  u64,
  i64,
  f64
};

bool read_bool(ByteReader& reader) {
  const auto byte = reader.read<std::uint8_t>("a boolean");
  if (byte > 1) reader.fail(fmt::format("expected a boolean 0 or 1, got {}", byte));
  return byte == 1;
}

// The least bytes that an element of an array of this type takes; 0 for an unknown type.
std::uint64_t least_bytes(std::uint32_t type) {
  switch (type) {
    case u8:
    case i8:
    case boolean:
      return 1;
    case u16:
    case i16:
      return 2;
    case u32:
    case i32:
    case f32:
      return 4;
    case string:
    case u64:
    case i64:
    case f64:
      return 8;
    case array:
      return 12;
    default:
      return 0;
  }
}

// `count` elements stored as T, kept as To; the count has been checked against what is left.
template <typename T, typename To>
std::vector<To> read_all(ByteReader& reader, std::uint64_t count) {
  std::vector<To> values(count);
  for (To& value : values) value = static_cast<To>(reader.read<T>("an array's element"));
  return values;
}

template <typename T>
GgufValue read_integers(ByteReader& reader, std::uint64_t count) {
  auto wide = read_all<T, T>(reader, count);
  if (std::ranges::all_of(wide, [](T value) { return std::in_range<std::int32_t>(value); })) {
    return {std::vector<std::int32_t>(wide.begin(), wide.end())};
  }
  if constexpr (sizeof(T) == 8) {
    return {std::move(wide)};
  } else {
    return {std::vector<std::int64_t>(wide.begin(), wide.end())};
  }
}

GgufValue read_array(ByteReader& reader, int depth);

GgufValue read_elements(ByteReader& reader, std::uint32_t type, std::uint64_t count, int depth) {
  switch (type) {
    case u8:
      return read_integers<std::uint8_t>(reader, count);
    case i8:
      return read_integers<std::int8_t>(reader, count);
    case u16:
      return read_integers<std::uint16_t>(reader, count);
    case i16:
      return read_integers<std::int16_t>(reader, count);
    case u32:
      return read_integers<std::uint32_t>(reader, count);
    case i32:
      return read_integers<std::int32_t>(reader, count);
    case u64:
      return read_integers<std::uint64_t>(reader, count);
    case i64:
      return read_integers<std::int64_t>(reader, count);
    case f32:
      return {read_all<float, double>(reader, count)};
    case f64:
      return {read_all<double, double>(reader, count)};
    case boolean: {
      std::vector<bool> values(count);
      for (std::uint64_t i = 0; i < count; ++i) values[i] = read_bool(reader);
      return {std::move(values)};
    }
    case string: {
      std::vector<std::string> values(count);
      for (std::string& value : values) value = read_gguf_string(reader, "an array's string");
      return {std::move(values)};
    }
    default: {
      GgufValue::Array values;
      for (std::uint64_t i = 0; i < count; ++i) values.push_back(read_array(reader, depth + 1));
      return {std::move(values)};
    }
  }
}

GgufValue read_array(ByteReader& reader, int depth) {
  if (depth > kMaxNesting) reader.fail("arrays nested deeper than 8 levels");
  const auto type = reader.read<std::uint32_t>("an array's type");
  const auto count = reader.read<std::uint64_t>("an array's length");
  const std::uint64_t least = least_bytes(type);
  if (least == 0) reader.fail(fmt::format("unknown metadata type {}", type));
  if (count > reader.remaining() / least) {
    reader.fail(
        fmt::format("an array claims {} elements, {} bytes are left", count, reader.remaining()),
        "the file is truncated or damaged");
  }
  return read_elements(reader, type, count, depth);
}

// A value as text; arrays by their size.
struct Describe {
  std::string operator()(const std::string& text) const { return '"' + printable(text, 200) + '"'; }
  std::string operator()(bool value) const { return value ? "true" : "false"; }
  std::string operator()(double value) const { return fmt::format("{}", value); }
  std::string operator()(std::uint64_t value) const { return std::to_string(value); }
  std::string operator()(std::int64_t value) const { return std::to_string(value); }
  std::string operator()(const std::vector<std::string>& values) const {
    return fmt::format("[{} strings]", values.size());
  }
  std::string operator()(const std::vector<bool>& values) const {
    return fmt::format("[{} booleans]", values.size());
  }
  std::string operator()(const GgufValue::Array& values) const {
    return fmt::format("[{} arrays]", values.size());
  }
  template <typename T>
  std::string operator()(const std::vector<T>& values) const {
    return fmt::format("[{} numbers]", values.size());
  }
};

}  // namespace

std::string read_gguf_string(ByteReader& reader, const char* what) {
  const auto length = reader.read<std::uint64_t>("a string's length");
  return std::string(reader.text(length, what));
}

GgufValue read_gguf_value(ByteReader& reader, std::uint32_t type) {
  const auto whole = [&](auto zero) -> GgufValue {
    const auto value = reader.read<decltype(zero)>("a value");
    if constexpr (std::is_signed_v<decltype(zero)>) return {std::int64_t{value}};
    return {static_cast<std::uint64_t>(value)};
  };
  switch (type) {
    case u8:
      return whole(std::uint8_t{});
    case i8:
      return whole(std::int8_t{});
    case u16:
      return whole(std::uint16_t{});
    case i16:
      return whole(std::int16_t{});
    case u32:
      return whole(std::uint32_t{});
    case i32:
      return whole(std::int32_t{});
    case u64:
      return whole(std::uint64_t{});
    case i64:
      return whole(std::int64_t{});
    case f32:
      return {static_cast<double>(reader.read<float>("a value"))};
    case f64:
      return {reader.read<double>("a value")};
    case boolean:
      return {read_bool(reader)};
    case string:
      return {read_gguf_string(reader, "a string")};
    case array:
      return read_array(reader, 0);
    default:
      reader.fail(fmt::format("unknown metadata type {}", type));
  }
}

std::string describe(const GgufValue& value) {
  return std::visit(Describe{}, value.value);
}

}  // namespace blip2
