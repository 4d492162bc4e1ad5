#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string_view>

#include "blip2/base/error.h"
#include "blip2/image/heic_limits_internal.h"
#include "blip2/io/iso_boxes.h"

namespace blip2 {
namespace {

// The bits of a NAL unit, without the bytes 3 that part zeros. Zeros beyond its end.
class NalBits {
 public:
  explicit NalBits(std::string_view bytes) : bytes_(bytes) {}

  unsigned bit() {
    if (left_ == 0) next_byte();
    return byte_ >> --left_ & 1u;
  }
  void skip(int count) {
    for (; count > 0; --count) bit();
  }
  // A number in Exp-Golomb code; nullopt if it is longer than any that a stream may hold.
  std::optional<std::uint64_t> number() {
    constexpr int kMost = 31;
    int zeros = 0;
    while (bit() == 0) {
      if (++zeros > kMost) return std::nullopt;
    }
    std::uint64_t value = 1;
    for (; zeros > 0; --zeros) value = value << 1 | bit();
    return value - 1;
  }

 private:
  void next_byte() {
    if (zeros_ >= 2 && at_ < bytes_.size() && bytes_[at_] == 3) {
      ++at_;
      zeros_ = 0;
    }
    byte_ = at_ < bytes_.size() ? static_cast<std::uint8_t>(bytes_[at_++]) : 0;
    zeros_ = byte_ == 0 ? zeros_ + 1 : 0;
    left_ = 8;
  }

  std::string_view bytes_;
  std::size_t at_ = 0;
  unsigned byte_ = 0;
  int left_ = 0, zeros_ = 0;
};

// Pixels of the pictures of a sequence parameter set (ITU-T H.265, 7.3.2.2); 0 if it is none.
std::uint64_t sequence_pixels(std::string_view nal) {
  NalBits bits(nal);
  bits.skip(16 + 4);  // the unit's head, the video parameter set
  int layers = 0;
  for (int i = 0; i < 3; ++i) layers = layers << 1 | static_cast<int>(bits.bit());
  bits.skip(1 + 88 + 8);  // nesting, profile, level
  int profiles = 0, levels = 0;
  for (int i = 0; i < layers; ++i) {
    profiles += static_cast<int>(bits.bit());
    levels += static_cast<int>(bits.bit());
  }
  if (layers > 0) bits.skip(2 * (8 - layers));
  bits.skip(88 * profiles + 8 * levels);
  const auto id = bits.number(), chroma = bits.number();
  if (!id || *id > 15 || !chroma || *chroma > 3) return 0;
  if (*chroma == 3) bits.skip(1);
  const auto width = bits.number(), height = bits.number();
  if (!width || !height) return 0;
  return *width * *height;  // no overflow: each is below 2^32
}

// Pixels of the largest sequence that the file holds, wherever it stands: a unit follows its length
// in 4 bytes, or in 2 in the box hvcC. What only looks like one is hardly ever that large.
std::uint64_t largest_sequence(std::string_view file) {
  constexpr char kSequence = 0x42;  // the type 33
  std::uint64_t largest = 0;
  for (std::size_t at = file.find(kSequence); at != file.npos; at = file.find(kSequence, at + 1)) {
    const bool plain = at + 1 < file.size() && static_cast<std::uint8_t>(file[at + 1]) < 8;
    if (!plain || at < 2) continue;
    const std::uint64_t left = file.size() - at, brief = big_endian_at(file, at - 2, 2);
    const std::uint64_t length = at < 4 ? 0 : big_endian_at(file, at - 4, 4);
    const bool whole = (length > 2 && length <= left) || (brief > 2 && brief <= left);
    constexpr std::size_t kSeen = 256;  // far more than lies before the size
    if (whole) largest = std::max(largest, sequence_pixels(file.substr(at, kSeen)));
  }
  return largest;
}

// The tiles and layers of which items are made, all together.
std::uint64_t parts_of_items(std::string_view file) {
  std::string_view references = find_box(meta_boxes(file), "iref");
  const bool wide = !references.empty() && references[0] != 0;  // ids of 4 bytes
  references.remove_prefix(std::min<std::size_t>(4, references.size()));
  std::uint64_t parts = 0;
  while (!references.empty()) {
    const IsoBox box = take_box(references);
    if (box.kind == "dimg") parts += big_endian_at(box.content, wide ? 4 : 2, 2);
  }
  return parts;
}

}  // namespace

void check_heic_streams(std::span<const std::byte> bytes, const std::string& where,
                        const ImageLimits& limits) {
  const std::string_view file(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const std::uint64_t pixels = largest_sequence(file), parts = parts_of_items(file);
  constexpr std::uint64_t kPixelsOfAByte = 1 << 14, kPadding = 64 * 64;  // more than HEVC reaches
  const auto most = static_cast<std::uint64_t>(limits.max_pixels) + kPadding;
  if (pixels > most) {
    throw Error(fmt::format("the picture's stream has {} pixels, the limit is {} pixels", pixels,
                            limits.max_pixels),
                where, "scale it down, or raise the limit if you trust it");
  }
  if (pixels > kPixelsOfAByte * file.size()) {
    throw Error(fmt::format("damaged HEIC: {} bytes cannot hold {} pixels", file.size(), pixels),
                where);
  }
  if (parts * pixels > 4 * most) {
    throw Error(fmt::format("damaged HEIC: {} tiles of {} pixels make no picture", parts, pixels),
                where);
  }
}

}  // namespace blip2
