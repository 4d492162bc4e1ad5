#include "blip2/training/event_file_internal.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <chrono>

#include "blip2/base/error.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;

constexpr char kEventPrefix[] = "events.out.tfevents.";
constexpr char kVersion[] = "brain.Event:2";
constexpr char kTrain[] = "train/", kValidation[] = "validation/", kValidationKey[] = "validation_";

constexpr std::array<std::uint32_t, 256> make_table() {
  constexpr std::uint32_t kReversedPolynomial = 0x82f63b78u;
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (crc & 1 ? kReversedPolynomial : 0);
    table[byte] = crc;
  }
  return table;
}

// Little-endian.
template <typename Unsigned>
std::string fixed(Unsigned value) {
  std::string bytes;
  for (std::size_t i = 0; i < sizeof(Unsigned); ++i) {
    bytes += static_cast<char>(value >> (8 * i) & 0xff);
  }
  return bytes;
}

// Protocol buffers' encoding, as far as events need it.
std::string varint(std::uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes += static_cast<char>(value | 0x80);
  return bytes + static_cast<char>(value);
}
enum Wire : std::uint64_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };
std::string key(std::uint64_t field, Wire wire) {
  return varint(field << 3 | wire);
}
std::string message(std::uint64_t field, std::string_view bytes) {
  return key(field, kBytes) + varint(bytes.size()) + std::string(bytes);
}

// The fields of Event: wall_time = 1, step = 2.
std::string event_at(std::int64_t step) {
  const std::chrono::duration<double> now = std::chrono::system_clock::now().time_since_epoch();
  return key(1, kFixed64) + fixed(std::bit_cast<std::uint64_t>(now.count())) + key(2, kVarint) +
         varint(static_cast<std::uint64_t>(step));
}
std::string version_event() {
  return event_at(0) + message(3, kVersion);  // file_version = 3
}
std::string start_event(std::int64_t step) {
  return event_at(step) + message(7, key(1, kVarint) + varint(1));  // session_log = 7: START
}
// Summary.Value: tag = 1, simple_value = 2.
std::string scalar(std::string_view tag, float value) {
  return message(1,
                 message(1, tag) + key(2, kFixed32) + fixed(std::bit_cast<std::uint32_t>(value)));
}

std::string tag_of(const std::string& name) {
  const bool validation = name.starts_with(kValidationKey);
  return validation ? kValidation + name.substr(sizeof(kValidationKey) - 1) : kTrain + name;
}

// The second in a file's name; 0 if it is no event file.
std::int64_t second_of(const std::string& name) {
  if (!name.starts_with(kEventPrefix)) return 0;
  std::int64_t second = 0;
  std::from_chars(name.data() + sizeof(kEventPrefix) - 1, name.data() + name.size(), second);
  return second;
}

// Readers take the files in the order of their names.
fs::path next_file(const fs::path& folder) {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  std::int64_t second = std::chrono::duration_cast<std::chrono::seconds>(now).count();
  for (const auto& entry : fs::directory_iterator(folder)) {
    second = std::max(second, second_of(entry.path().filename().string()) + 1);
  }
  std::array<char, 256> host{};
  if (::gethostname(host.data(), host.size() - 1) != 0 || host[0] == 0) host = {"localhost"};
  return folder / fmt::format("{}{:010}.{}.{}.0", kEventPrefix, second, host.data(), ::getpid());
}

}  // namespace

std::uint32_t crc32c(std::string_view bytes) {
  static constexpr auto kTable = make_table();
  std::uint32_t crc = 0xffffffffu;
  for (const char c : bytes) {
    crc = (crc >> 8) ^ kTable[(crc ^ static_cast<unsigned char>(c)) & 0xff];
  }
  return ~crc;
}

std::uint32_t masked_crc32c(std::string_view bytes) {
  return std::rotr(crc32c(bytes), 15) + 0xa282ead8u;
}

EventFile::EventFile(const fs::path& folder, std::optional<std::int64_t> resumed_step)
    : path_(next_file(folder)), file_(path_, std::ios::binary) {
  write(version_event());
  if (resumed_step) write(start_event(*resumed_step + 1));
}

void EventFile::add(const nlohmann::ordered_json& line) {
  std::string summary;
  for (const auto& [name, value] : line.items()) {
    if (name == "step" || !value.is_number()) continue;
    summary += scalar(tag_of(name), value.get<float>());
  }
  write(event_at(line.at("step").get<std::int64_t>()) + message(5, summary));  // summary = 5
}

void EventFile::write(std::string_view event) {
  const std::string length = fixed(static_cast<std::uint64_t>(event.size()));
  file_ << length << fixed(masked_crc32c(length)) << event << fixed(masked_crc32c(event));
  file_.flush();
  if (!file_) throw Error("cannot write", path_.string());
}

}  // namespace blip2
