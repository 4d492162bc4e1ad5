#pragma once

#include <span>

namespace blip2 {

// CLIPScore and RefCLIPScore (Hessel et al. 2021, arXiv 2104.08718; github.com/jmhessel/clipscore).
// Captions and references are read by CLIP with kClipPrompt before them.
inline constexpr char kClipPrompt[] = "A photo depicts ";
inline constexpr double kClipWeight = 2.5;

struct ClipScore {
  double clipscore = 0;     // 0 to 2.5
  double refclipscore = 0;  // 0 to 10/7: the harmonic mean with a cosine of at most 1
};

// Of a caption, by its cosine to the picture and those to its references: the weight times
// max(cosine, 0), and the harmonic mean of that and max(greatest cosine of a reference, 0). Without
// a reference, and where both are 0, the mean is 0.
ClipScore clip_score(double picture, std::span<const double> references);

}  // namespace blip2
