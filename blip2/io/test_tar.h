#pragma once

#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// Builders of small tar archives, for tests.
namespace blip2::testing {

inline std::string octal(std::uint64_t value, int digits) {
  char text[32];
  std::snprintf(text, sizeof text, "%0*llo", digits, static_cast<unsigned long long>(value));
  return std::string(text, static_cast<std::size_t>(digits)) + '\0';
}

inline void set_checksum(std::string& header) {
  header.replace(148, 8, 8, ' ');
  unsigned sum = 0;
  for (const char c : header) sum += static_cast<unsigned char>(c);
  header.replace(148, 8, octal(sum, 6) + ' ');
}

struct TarHeaderFields {
  std::string name, link = {};
  std::uint64_t size = 0;
  char type = '0';
  std::string magic = std::string(
      "ustar\0"
      "00",
      8);
};

inline std::string tar_header(const TarHeaderFields& fields) {
  std::string header(512, '\0');
  const std::string name = fields.name.substr(0, 100);
  header.replace(0, name.size(), name);
  header.replace(100, 8, octal(0644, 7));
  header.replace(108, 8, octal(1000, 7));
  header.replace(116, 8, octal(1000, 7));
  header.replace(124, 12, octal(fields.size, 11));
  header.replace(136, 12, octal(1700000000, 11));
  header[156] = fields.type;
  header.replace(157, fields.link.size(), fields.link);
  header.replace(257, fields.magic.size(), fields.magic);
  set_checksum(header);
  return header;
}

inline std::string pad_to_block(std::string bytes) {
  bytes.resize((bytes.size() + 511) / 512 * 512);
  return bytes;
}

inline std::string tar_member(const std::string& name, const std::string& body) {
  return tar_header({.name = name, .size = body.size()}) + pad_to_block(body);
}

inline std::string pax_record(const std::string& key, const std::string& value) {
  std::size_t length = key.size() + value.size() + 3;
  while (std::to_string(length).size() + key.size() + value.size() + 3 != length) {
    length = std::to_string(length).size() + key.size() + value.size() + 3;
  }
  return std::to_string(length) + " " + key + "=" + value + "\n";
}

// A member whose name stands in pax records or in a GNU long name before it.
inline std::string pax_member(const std::string& name, const std::string& body) {
  return tar_header(
             {.name = "././@PaxHeader", .size = pax_record("path", name).size(), .type = 'x'}) +
         pad_to_block(pax_record("path", name)) + tar_member(name, body);
}

inline std::string gnu_member(const std::string& name, const std::string& body) {
  const std::string magic("ustar  \0", 8);
  return tar_header(
             {.name = "././@LongLink", .size = name.size() + 1, .type = 'L', .magic = magic}) +
         pad_to_block(name + '\0') +
         tar_header({.name = name, .size = body.size(), .magic = magic}) + pad_to_block(body);
}

inline std::string tar_end() {
  return std::string(1024, '\0');
}

}  // namespace blip2::testing
