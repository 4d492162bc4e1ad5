#pragma once

#include <memory>
#include <optional>
#include <span>

#include "blip2/tasks/caption_reads.h"
#include "blip2/tasks/task.h"
#include "blip2/tasks/words.h"
#include "blip2/text/tokenizer.h"

namespace blip2 {

// Stage 1: the Q-Former learns to represent what texts say about pictures (ITC, ITM, ITG). `train`:
// the records to train on, at least one; `validation` may be empty. `tokenizer`: the Q-Former's,
// with [DEC]. `words`, made of the same records, adds the words objective. `reading`: how a
// language model reads captions, for a Q-Former and objectives that read its states. `ranks`: the
// processes that share each batch; nullptr: this process alone.
std::unique_ptr<TrainingTask> make_stage1_task(
    const Recipe& recipe, std::shared_ptr<Bridge> bridge, const Tokenizer& tokenizer,
    std::span<const Record> train, std::span<const Record> validation,
    std::optional<CaptionWords> words, std::optional<LanguageReading> reading, const Ranks* ranks);

}  // namespace blip2
