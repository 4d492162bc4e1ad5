#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "blip2/data/records.h"
#include "blip2/decoding/options.h"
#include "blip2/evaluation/clip_score.h"

namespace blip2 {

class CaptionChooser;
class GenerationModel;
class Ranks;

// What a model says of a record.
struct RecordAnswer {
  std::string text;
  std::string failure = {};                // why the picture cannot be read
  std::optional<double> probability = {};  // of a chosen caption
  std::optional<bool> hit = {};            // of a caption, see is_hit()
  std::optional<ClipScore> clip = {};      // of a caption, see mark_clip_scores()
  double score = 0;                        // of a caption its CIDEr, of an answer its accuracy
};

// The right ones: a question's answers, a picture's captions.
inline const std::vector<std::string>& right_texts(const Record& record) {
  return record.is_question() ? record.answers : record.captions;
}

// Takes the answers to some records one by one, in the records' order.
using TakeAnswer = std::function<void(RecordAnswer)>;

// What the model writes about the records, `batch_size` at a time, to `take`. Prompts as
// record_prompt has them. Interrupted after a signal.
void write_answers(const GenerationModel& model, std::span<const Record> records,
                   const std::string& caption_prompt, const std::string& question_prompt,
                   const GenerationOptions& options, std::int64_t batch_size,
                   const TakeAnswer& take);
// The best of candidates for the records' pictures. The same batches and Interrupted.
void choose_answers(const CaptionChooser& chooser, std::span<const Record> records,
                    std::int64_t batch_size, const TakeAnswer& take);

// What answer(some records, take) says of all records, at rank 0, nothing elsewhere. The processes
// share the records in whole batches; rank 0 shows progress under `label`. Error if another process
// is gone. `ranks` nullptr: there is no other.
std::vector<RecordAnswer> answer_records(
    std::span<const Record> records, std::int64_t batch_size, const std::string& label,
    const Ranks* ranks,
    const std::function<void(std::span<const Record>, const TakeAnswer&)>& answer);

// Takes the records whose pictures cannot be read out of the file (see drop_pictures), and gives
// the answers to those that stay.
std::vector<RecordAnswer> drop_unreadable(RecordFile& file, std::vector<RecordAnswer> answers,
                                          const BadRecordPolicy& policy);

}  // namespace blip2
