#pragma once

#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

#include "apps/blip2/clip_scores.h"
#include "apps/blip2/eval_output.h"
#include "blip2/data/records.h"

namespace blip2 {

// Sets which captions are hits: by the record's first caption, its title, and its keywords.
// `generic_words` make none.
void mark_hits(std::span<const std::string> generic_words, std::span<const Record> records,
               std::span<EvalAnswer> answers);

// Sets the CLIPScores of captions. Throws Error for a picture that CLIP cannot read.
void mark_clip_scores(const ScoreByClip& clip, std::span<const Record> records,
                      std::span<EvalAnswer> answers);

// The metrics of all questions, or of all captions, and under "by_kind" those of their parts, as
// far as the data name some; sets each answer's own score. CLIPScores are there if they are marked.
nlohmann::ordered_json scores_of_questions(std::span<const Record> records,
                                           std::span<EvalAnswer> answers);
nlohmann::ordered_json scores_of_captions(std::span<const Record> records,
                                          std::span<EvalAnswer> answers);

}  // namespace blip2
