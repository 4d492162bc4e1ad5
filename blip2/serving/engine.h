#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "blip2/chat/chat_template.h"
#include "blip2/image/transform.h"
#include "blip2/serving/counts.h"
#include "blip2/serving/job.h"

namespace blip2 {

struct EngineOptions {
  std::string precision = "auto";     // as GenerationModel's
  bool bridge_in_bf16 = false;        // the Q-Former computes in bf16 instead of f32
  PictureChoices pictures;            // override the directory's preprocessing
  bool chat = false;                  // prompts are turns of the language model's chat template
  std::int64_t max_batch = 32;        // sequences that are written side by side
  std::int64_t max_queue = 256;       // jobs that wait
  std::int64_t max_positions = 8192;  // of prompt and answer, if the model reads no fewer
  std::int64_t prompt_part = 256;     // most positions of a prompt between two tokens
  std::int64_t picture_threads = 2;   // that decode and resize pictures
  std::int64_t max_picture_pixels = 2 * 89'478'485;
  std::int64_t max_items = 256;          // pictures, and texts, of an embedding or score job
  std::int64_t max_pairs = 4096;         // of pictures and texts of a score job
  std::int64_t cache_bytes = 256 << 20;  // of pictures' features
  std::chrono::milliseconds job_timeout{300'000};  // from submit() on
  std::function<void(double share)> progress;      // of loading, on the thread that loads
};

// What the model is, for clients.
struct EngineFacts {
  std::int64_t picture_width = 0, picture_height = 0;
  std::int64_t embedding_width = 0;  // 0: it has no stage-1 heads, thus neither vectors nor scores
  bool generates = false;  // whether it has a language model; of this are the members below
  std::string caption_prompt, question_prompt;  // templates
  std::shared_ptr<const ChatTemplate> chat;     // of a model of chats; else nullptr
  std::int64_t positions = 0;                   // most positions of prompt and answer
  std::int64_t queries = 0;                     // positions of a picture in the prompt
  std::int64_t vocabulary = 0;
  bool encoder_decoder = false;
  std::string weights;  // type of the matrices as they are computed: "bf16"
};

// A model that answers many jobs side by side. One thread computes: text jobs join and leave a
// running batch at every token, long prompts are read in parts between tokens, and vectors and
// scores are computed between steps. Other threads decode pictures. Features of pictures are kept
// by their content. A job's answer does not depend on the jobs beside it. All functions may be
// called from any thread at any time, but not from the jobs' callbacks, unless stated otherwise.
class Engine {
 public:
  // Loads the model and starts. A directory without a language model gives vectors and scores
  // alone. Error if it has no stage-1 heads either, or its files do not belong together, or an
  // option is out of range.
  explicit Engine(const std::filesystem::path& folder, EngineOptions options = {});
  ~Engine();  // stops
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  const EngineFacts& facts() const;

  // Puts a job into the queue; never waits. False if the queue is full or the engine drains, and
  // nothing of the job is called. Callbacks may call it.
  bool submit(std::shared_ptr<Job> job);

  // Runs no new jobs from now on, and returns once all that were accepted have ended: true, or
  // false when the limit is over before.
  bool drain(std::chrono::milliseconds limit);
  bool draining() const;
  // Ends everything at once; jobs that were accepted end with JobFault::stopped.
  void stop();

  // A copy at this moment; never waits for the model. Callbacks may call it.
  EngineCounts counts() const;

  // The language model's tokenizer; callbacks may call these. Error if there is no such model.
  std::vector<std::int32_t> tokenize(const Prompt& text, bool add_special_tokens) const;
  std::string detokenize(std::span<const std::int32_t> ids, bool skip_special_tokens) const;
  std::string piece(std::int32_t id) const;  // Error if there is no such id

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace blip2
