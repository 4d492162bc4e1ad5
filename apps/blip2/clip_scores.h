#pragma once

#include <array>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "blip2/evaluation/clip_score.h"

namespace blip2 {

inline constexpr std::array kClipNames{"clipscore", "refclipscore"};

// A caption, its picture (a path or a place in a tar shard) and its references.
struct ClipItem {
  std::string image, caption;
  std::span<const std::string> references;
};

struct ClipResult {
  ClipScore score;
  std::string failure;  // why the picture cannot be read; empty if it can
};

// The scores of some items. Pictures that were there in an earlier call are not read again.
using ScoreByClip = std::function<std::vector<ClipResult>(std::span<const ClipItem>)>;

// Opens the CLIP of a directory (ClipModel); Error if it cannot be. In blip2-torch alone.
ScoreByClip open_clip(const std::string& folder);
using OpenClip = ScoreByClip (*)(const std::string& folder);

// Thrown by a verb of the program without LibTorch whose options need it: main.cpp goes on with the
// program that has it. Nothing is printed or written before.
struct NeedsTorch {};

}  // namespace blip2
