#include "blip2/io/iso_boxes.h"

#include <algorithm>
#include <utility>

namespace blip2 {

std::uint64_t big_endian_at(std::string_view bytes, std::uint64_t at, int count) {
  const auto size = static_cast<std::uint64_t>(count);
  if (at > bytes.size() || size > bytes.size() - at) return 0;
  std::uint64_t value = 0;
  for (std::uint64_t i = 0; i < size; ++i) {
    value = value << 8 | static_cast<std::uint8_t>(bytes[at + i]);
  }
  return value;
}

IsoBox take_box(std::string_view& boxes) {
  std::uint64_t size = big_endian_at(boxes, 0, 4), head = 8;
  if (size == 1) {
    size = big_endian_at(boxes, 8, 8);
    head = 16;
  }
  if (size == 0) size = boxes.size();  // up to the end
  const std::string_view all = std::exchange(boxes, {});
  if (size < head || size > all.size()) return {};
  boxes = all.substr(size);
  return {all.substr(4, 4), all.substr(head, size - head)};
}

std::string_view find_box(std::string_view boxes, std::string_view kind) {
  while (!boxes.empty()) {
    const IsoBox box = take_box(boxes);
    if (box.kind == kind) return box.content;
  }
  return {};
}

std::string_view meta_boxes(std::string_view file) {
  const std::string_view meta = find_box(file, "meta");
  return meta.substr(std::min<std::size_t>(4, meta.size()));  // version and flags
}

std::string_view item_properties(std::string_view file) {
  return find_box(find_box(meta_boxes(file), "iprp"), "ipco");
}

}  // namespace blip2
