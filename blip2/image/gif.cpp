#include <fmt/format.h>
#include <gif_lib.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "blip2/base/error.h"
#include "blip2/image/codecs_internal.h"

namespace blip2 {
namespace {

class GifReader {
 public:
  GifReader(std::span<const std::byte> bytes, const std::string& where)
      : where_(where), rest_(bytes) {
    int error = 0;
    file_ = DGifOpen(this, read, &error);
    if (file_ == nullptr) fail(error);
  }
  ~GifReader() { DGifCloseFile(file_, nullptr); }
  GifReader(const GifReader&) = delete;
  GifReader& operator=(const GifReader&) = delete;

  GifFileType& file() { return *file_; }

  void require(int status) {
    if (status != GIF_OK) fail(file_->Error);
  }

 private:
  static int read(GifFileType* file, GifByteType* to, int count) {
    auto& rest = static_cast<GifReader*>(file->UserData)->rest_;
    const std::size_t taken = std::min(rest.size(), static_cast<std::size_t>(std::max(count, 0)));
    std::memcpy(to, rest.data(), taken);
    rest = rest.subspan(taken);
    return static_cast<int>(taken);
  }

  [[noreturn]] void fail(int error) {
    const char* reason = GifErrorString(error);
    const bool cut = error == D_GIF_ERR_READ_FAILED || rest_.empty();
    throw Error(fmt::format("damaged GIF: {}", cut                 ? "the file is cut short"
                                               : reason != nullptr ? reason
                                                                   : "its pixels are broken"),
                where_);
  }

  const std::string& where_;
  std::span<const std::byte> rest_;
  GifFileType* file_ = nullptr;
};

// Reads up to the first picture's pixels. Returns the index that is transparent, -1 if none is.
int seek_first_picture(GifReader& reader, const std::string& where) {
  int transparent = -1;
  while (true) {
    GifRecordType type = UNDEFINED_RECORD_TYPE;
    reader.require(DGifGetRecordType(&reader.file(), &type));
    if (type == TERMINATE_RECORD_TYPE) throw Error("damaged GIF: it holds no picture", where);
    if (type == IMAGE_DESC_RECORD_TYPE) {
      reader.require(DGifGetImageDesc(&reader.file()));
      return transparent;
    }
    int code = 0;
    GifByteType* block = nullptr;  // its size, then its bytes
    reader.require(DGifGetExtension(&reader.file(), &code, &block));
    const bool control = code == GRAPHICS_EXT_FUNC_CODE && block != nullptr && block[0] >= 4;
    if (control && (block[1] & 1) != 0) transparent = block[4];
    while (block != nullptr) reader.require(DGifGetExtensionNext(&reader.file(), &block));
  }
}

// As in Pillow a picture without a palette, or with one that says what it says itself, is grey, and
// indices beyond a palette's end are black.
Palette gif_palette(const ColorMapObject* map, int transparent) {
  Palette palette{};
  bool grey = true;
  for (int i = 0; map != nullptr && i < map->ColorCount; ++i) {
    const GifColorType& colour = map->Colors[i];
    palette[i] = {colour.Red, colour.Green, colour.Blue};
    grey = grey && colour.Red == i && colour.Green == i && colour.Blue == i;
  }
  for (int i = 0; grey && i < 256; ++i) palette[i].fill(static_cast<std::uint8_t>(i));
  if (transparent >= 0) palette[transparent] = {255, 255, 255};
  return palette;
}

// The rows of a picture in the order in which they are stored.
std::vector<int> stored_rows(int height, bool interlaced) {
  struct Pass {
    int first, step;
  };
  static constexpr Pass kPasses[] = {{0, 8}, {4, 8}, {2, 4}, {1, 2}}, kPlain[] = {{0, 1}};
  std::vector<int> rows;
  rows.reserve(static_cast<std::size_t>(height));
  for (const Pass& pass : interlaced ? std::span<const Pass>(kPasses) : kPlain) {
    for (int y = pass.first; y < height; y += pass.step) rows.push_back(y);
  }
  return rows;
}

// A code of the compression stands for at most 4096 pixels; a header that claims more lies.
void check_frame(const GifImageDesc& frame, std::size_t file_bytes, const std::string& where) {
  if (frame.Width <= 0 || frame.Height <= 0 || frame.Left < 0 || frame.Top < 0) {
    throw Error("damaged GIF: its first picture is empty", where);
  }
  if (std::uint64_t{1} * frame.Width * frame.Height > 4096 * std::uint64_t{file_bytes}) {
    throw Error(fmt::format("damaged GIF: {} bytes cannot hold {} x {} pixels", file_bytes,
                            frame.Width, frame.Height),
                where);
  }
}

}  // namespace

Decoded decode_gif(std::span<const std::byte> bytes, const std::string& where,
                   const ImageLimits& limits) {
  GifReader reader(bytes, where);
  const int transparent = seek_first_picture(reader, where);
  const GifFileType& file = reader.file();
  const GifImageDesc& frame = file.Image;
  const int width = std::max(file.SWidth, frame.Left + frame.Width);
  const int height = std::max(file.SHeight, frame.Top + frame.Height);
  check_size(width, height, 3, where, limits);
  check_frame(frame, bytes.size(), where);
  const Palette palette =
      gif_palette(frame.ColorMap != nullptr ? frame.ColorMap : file.SColorMap, transparent);
  Image image = blank_image(width, height);
  const Colour& ground = palette[std::max(transparent, 0)];
  for (std::size_t i = 0; i < image.rgb.size(); ++i) image.rgb[i] = ground[i % 3];
  std::vector<GifPixelType> row(static_cast<std::size_t>(frame.Width));
  for (const int y : stored_rows(frame.Height, frame.Interlace)) {
    reader.require(DGifGetLine(&reader.file(), row.data(), frame.Width));
    std::size_t at = static_cast<std::size_t>(frame.Top + y) * width + frame.Left;
    for (const GifPixelType index : row) std::memcpy(&image.rgb[3 * at++], &palette[index], 3);
  }
  return {std::move(image)};
}

}  // namespace blip2
