#pragma once

#include <string>

#include "blip2/evaluation/clip_score.h"

namespace blip2 {

// Opens the CLIP of a directory (ClipModel); Error if that fails. The function that it returns
// shows progress, reads each picture only once over all calls, and throws Interrupted after a
// signal. For one thread at a time.
ScoreByClip open_clip(const std::string& folder);

}  // namespace blip2
