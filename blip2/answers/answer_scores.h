#pragma once

#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

#include "blip2/answers/record_answers.h"

// The answers belong to the records in their order, one each.
namespace blip2 {

// Sets which captions are hits: by the record's first caption, its title, and its keywords, see
// is_hit(). `generic_words` make no hit.
void mark_hits(std::span<const Record> records, std::span<RecordAnswer> answers,
               const std::vector<std::string>& generic_words);

// Sets the CLIPScores of captions. Error for a picture that cannot be read.
void mark_clip_scores(std::span<const Record> records, std::span<RecordAnswer> answers,
                      const ScoreByClip& clip);

// What `blip2 eval` prints of all captions (exact, bleu, …, hits); sets each answer's own score. If
// the CLIPScores are marked, their means are there with bootstrap intervals. "by_kind" has the
// scores of each of NoCaps' domains that the records name, as a set with its own document
// frequencies.
nlohmann::ordered_json score_captions(std::span<const Record> records,
                                      std::span<RecordAnswer> answers);
// The accuracy of all questions and of their kinds; sets each answer's own score.
nlohmann::ordered_json score_questions(std::span<const Record> records,
                                       std::span<RecordAnswer> answers);

}  // namespace blip2
