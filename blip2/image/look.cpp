#include "blip2/image/look.h"

#include <algorithm>
#include <cstdlib>

#include "blip2/image/resize.h"

namespace blip2 {
namespace {

constexpr int kCells = 8;
constexpr std::size_t kBytes = 3 * kCells * kCells;

}  // namespace

std::string look_of(const Image& image) {
  // Cells of less than two pixels would be single pixels in turn.
  const bool small = std::min(image.width, image.height) < 2 * kCells;
  const Image cells = resize(image, kCells, kCells, small ? Filter::bilinear : Filter::box);
  return {cells.rgb.begin(), cells.rgb.end()};
}

bool same_look(std::string_view a, std::string_view b) {
  constexpr int kMostDifference = 24;
  if (a.size() != kBytes || b.size() != kBytes) return false;
  for (std::size_t i = 0; i < kBytes; ++i) {
    const int difference = static_cast<unsigned char>(a[i]) - static_cast<unsigned char>(b[i]);
    if (std::abs(difference) > kMostDifference) return false;
  }
  return true;
}

}  // namespace blip2
