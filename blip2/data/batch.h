#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "blip2/chat/chat_template.h"
#include "blip2/data/records.h"
#include "blip2/qformer/text_rows.h"
#include "blip2/text/prompt.h"
#include "blip2/text/tokenizer.h"

namespace blip2 {

// The text's ids, cut to `most`. The tokens that the tokenizer puts at the end ([SEP]) stay there,
// as with transformers' truncation.
std::vector<std::int32_t> encode_at_most(const Tokenizer& tokenizer, const Prompt& text,
                                         std::int64_t most);

// The distinct pictures of some records, numbered in the order of their first use.
struct RecordPictures {
  std::vector<std::string> names;     // by number
  std::vector<std::int64_t> of_item;  // the number of each record's picture
};
RecordPictures number_pictures(std::span<const Record> records);

// A stage-1 batch. Two samples match if they have the same image_id or the same caption_id.
struct CaptionBatch {
  TextRows texts;                     // B: [CLS] text [SEP]
  at::Tensor image_ids, caption_ids;  // [B] int64
};

// Records with captions, every text tokenised once. Captions that differ only in what the tokenizer
// drops (case, accents) have one caption_id. Const functions may run on several threads at once.
class CaptionData {
 public:
  // Error if a record has no caption.
  CaptionData(std::span<const Record> records, const Tokenizer& tokenizer,
              std::int64_t max_tokens = 32);

  // Of several captions of an item, seed, step and item decide which is taken; without a step it is
  // the first.
  CaptionBatch batch(std::span<const std::int64_t> items, std::uint64_t seed,
                     std::optional<std::int64_t> step) const;
  // The ids of all different captions; a caption_id is a place in this list.
  const std::vector<std::vector<std::int32_t>>& texts() const { return texts_; }

 private:
  struct Item {
    std::int64_t image_id;
    std::vector<std::int64_t> captions;  // places in texts_
  };
  std::vector<std::vector<std::int32_t>> texts_;
  std::vector<Item> items_;
};

// How a record becomes a prompt and a target, the text that the language model learns to write.
// Special tokens count in the templates, not in the records' texts.
struct PromptFormat {
  std::string caption = "a photo of", question = "Question: {} Short answer:";
  std::string separator = " ";      // before the target, unless the prompt is empty
  std::vector<std::int32_t> start;  // ids before the prompt
  std::vector<std::int32_t> end;    // ids that end every target
  // Of which each prompt is a user's turn, without `start` and `separator`; nullptr: of none.
  std::shared_ptr<const ChatTemplate> chat;
  // The first counts what the templates of this struct write, not what the chat template does.
  std::int64_t max_prompt_tokens = 64, max_target_tokens = 32;
};

// The ids of a record's prompt. Empty if both the prompt and `start` are empty.
std::vector<std::int32_t> prompt_ids(const PromptFormat& format, const Tokenizer& tokenizer,
                                     const std::string& question);

// A stage-2 batch of B rows.
struct PromptBatch {
  std::vector<std::vector<std::int64_t>> prompts, targets;  // ids; a target follows its prompt
  std::optional<TextRows> instructions;  // prompts for the Q-Former, if it reads them
  std::vector<bool> questions;           // whether the target is an answer
};

// Records with captions or questions for the language model, every text tokenised once. Const
// functions may run on several threads at once.
class PromptData {
 public:
  // `instructions`: the Q-Former's tokenizer if it reads the prompt too (InstructBLIP). Error if a
  // record lacks a target.
  PromptData(std::span<const Record> records, const Tokenizer& tokenizer,
             const PromptFormat& format, const Tokenizer* instructions = nullptr);

  // The distinct tokens of all targets and of the last `lead` tokens of their prompts, in rising
  // order.
  std::vector<std::int64_t> target_tokens(std::int64_t lead = 0) const;

  // The ids of all different prompts.
  std::vector<std::vector<std::int64_t>> prompts() const;

  // The batch of these items; captions or answers are chosen as by CaptionData::batch.
  PromptBatch batch(std::span<const std::int64_t> items, std::uint64_t seed,
                    std::optional<std::int64_t> step) const;

 private:
  struct Item {
    std::int64_t prompt, instruction;
    std::vector<std::int64_t> targets;  // places in texts_
    bool question;
  };
  bool has_instructions_;
  std::vector<std::vector<std::int32_t>> texts_;
  std::vector<Item> items_;
};

}  // namespace blip2
