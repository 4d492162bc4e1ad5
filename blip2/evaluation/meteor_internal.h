#pragma once

#include <filesystem>
#include <span>
#include <vector>

#include "blip2/evaluation/caption_metrics.h"
#include "blip2/evaluation/meteor_alignment_internal.h"

namespace blip2 {

// The METEOR 1.5 score of summed counts, with METEOR's parameters for English and the task
// "ranking": 0 to 1.
double meteor_of(const MeteorCounts& counts);

// The counts of each candidate with the reference that gives the best score; the sum over
// candidates gives the score of all. They equal the counts that pycocoevalcap 1.2's Meteor gets
// from meteor-1.5.jar (-l en -norm): all four stages, exact, stem, synonym and paraphrase. Captions
// as tokenise_captions gives them. `data`: that jar, or the folder of pycocoevalcap in which it
// lies with data/paraphrase-en.gz beside it. Throws Error if one of them is missing or malformed.
std::vector<MeteorCounts> count_meteor(CaptionTexts candidates,
                                       std::span<const CaptionTexts> references,
                                       const std::filesystem::path& data, std::size_t threads = 1);

}  // namespace blip2
