#include "blip2/io/tar_writer.h"

#include <fmt/format.h>

#include <cstdint>
#include <numeric>
#include <string>

#include "blip2/base/error.h"
#include "blip2/io/tar_header.h"
#include "blip2/io/utf8.h"

namespace blip2 {
namespace {

constexpr std::size_t kMaxName = 100;
constexpr std::uint64_t kMaxSize = (std::uint64_t{1} << 33) - 1;  // eleven octal digits

// A header of POSIX.1-1988: owner 0, mode 0644, time 0.
std::string header_of(std::string_view name, std::uint64_t size) {
  std::string header(kTarBlock, '\0');
  const auto put = [&](std::size_t at, std::string_view text) {
    header.replace(at, text.size(), text);
  };
  put(0, name);
  put(100, "0000644");
  put(108, "0000000");
  put(116, "0000000");
  put(124, fmt::format("{:011o}", size));
  put(136, "00000000000");
  put(156, "0");
  put(257, std::string_view("ustar\0"
                            "00",
                            8));
  put(148, "        ");  // the checksum counts its own field as spaces
  const unsigned sum = std::accumulate(header.begin(), header.end(), 0u, [](unsigned sum, char c) {
    return sum + static_cast<unsigned char>(c);
  });
  put(148, fmt::format("{:06o}", sum));
  header[154] = '\0';
  return header;
}

}  // namespace

void TarWriter::add(std::string_view name, std::string_view body) {
  if (name.empty() || name.size() > kMaxName) {
    throw Error(
        fmt::format("expected a member's name of 1 to {} bytes, got {}", kMaxName, printable(name)),
        "tar archive");
  }
  if (body.size() > kMaxSize) {
    throw Error(fmt::format("expected at most {} bytes, got {}", kMaxSize, body.size()),
                printable(name));
  }
  file_.write(header_of(name, body.size()));
  file_.write(body);
  file_.write(std::string((kTarBlock - body.size() % kTarBlock) % kTarBlock, '\0'));
}

void TarWriter::commit() {
  file_.write(std::string(2 * kTarBlock, '\0'));
  file_.commit();
}

}  // namespace blip2
