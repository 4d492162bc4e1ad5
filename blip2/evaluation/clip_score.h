#pragma once

#include <array>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace blip2 {

// CLIPScore and RefCLIPScore (Hessel et al. 2021, arXiv 2104.08718; github.com/jmhessel/clipscore).
// CLIP reads captions and references with kClipPrompt before them.
inline constexpr char kClipPrompt[] = "A photo depicts ";
inline constexpr double kClipWeight = 2.5;
inline constexpr std::array kClipNames{"clipscore", "refclipscore"};  // of the scores

struct ClipScore {
  double clipscore = 0;     // 0 to 2.5
  double refclipscore = 0;  // 0 to 10/7: the harmonic mean with a cosine of at most 1
};

// The scores of a caption from its cosine to the picture and its cosines to the references: the
// weight times max(cosine, 0), and the harmonic mean of that and max(greatest cosine of a
// reference, 0). The mean is 0 without a reference and if both are 0.
ClipScore clip_score(double picture, std::span<const double> references);

// A caption, its picture (a path or a place in a tar shard) and its references.
struct ClipItem {
  std::string image, caption;
  std::span<const std::string> references;
};

struct ClipResult {
  ClipScore score;
  std::string failure;  // why the picture cannot be read; empty if it can
};

// Gives the scores of some items, one result for each. See open_clip() in answers/clip_scorer.h.
using ScoreByClip = std::function<std::vector<ClipResult>(std::span<const ClipItem>)>;

}  // namespace blip2
