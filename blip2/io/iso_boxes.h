#pragma once

#include <cstdint>
#include <string_view>

namespace blip2 {

// The big-endian number in the `count` (up to 8) bytes at `at`; 0 beyond the end.
std::uint64_t big_endian_at(std::string_view bytes, std::uint64_t at, int count);

// A box of the ISO base media format, of which AVIF and HEIC files are made.
struct IsoBox {
  std::string_view kind;     // four letters, empty: there is no box
  std::string_view content;  // without its head
};

// The first box of a row of boxes, which then holds the rest; an empty one, and nothing left, at
// the end and where a box would reach beyond it.
IsoBox take_box(std::string_view& boxes);

// The content of the first box of that kind; empty if there is none.
std::string_view find_box(std::string_view boxes, std::string_view kind);

// What the file's box "meta" holds, and the properties of its items.
std::string_view meta_boxes(std::string_view file);
std::string_view item_properties(std::string_view file);

}  // namespace blip2
