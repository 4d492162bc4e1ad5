#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "blip2/decoding/options.h"
#include "blip2/text/prompt.h"

namespace blip2 {

// What an Engine is asked to do. Whoever asks fills a job in, submits it and leaves it alone from
// then on, but for cancel(). Callbacks come on the engine's threads, one at a time for a job; they
// must return at once and not throw. The last callback is either on_done or on_error; a cancelled
// job may end without one.

// An encoded picture: the bytes of its file, and what messages call it.
struct JobPicture {
  std::string bytes, name = "picture";
};

enum class JobFault {
  bad_picture,  // it is damaged, too large or of an unknown format
  bad_request,  // the model cannot do what is asked, or a number is out of range
  too_long,     // the prompt leaves no room for an answer, or not for min_new_tokens
  timed_out,    // the engine's time limit for a job is over
  stopped,      // the engine stops
  failed        // anything else; the message is for the operator
};
struct JobError {
  JobFault fault;
  std::string message;
};

class Job {
 public:
  Job() = default;
  virtual ~Job() = default;
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;

  // Any thread may call it, at any time. A running job is dropped before its next token.
  void cancel() { cancelled_ = true; }
  bool cancelled() const { return cancelled_; }

  std::function<void(const JobError&)> on_error;

 private:
  std::atomic<bool> cancelled_ = false;
};

// A token with its log-probability in nats by the logits as the model gave them, before penalties,
// temperature and all else that changes them.
struct TokenScore {
  std::int32_t id = 0;
  std::string bytes;  // what it adds to the text; they may begin or end within a character
  double log_probability = 0;
};
struct ScoredToken : TokenScore {
  std::vector<TokenScore> top;  // options.top_log_probabilities most probable ones, best first
};

// More of an answer. The pieces of an answer are valid UTF-8 and together its whole text.
struct TextPiece {
  std::int64_t choice = 0;          // which of the job's answers
  std::string text;                 // may be empty if there are tokens
  std::vector<ScoredToken> tokens;  // new ones, if options.log_probabilities
};

struct WrittenText {
  std::string text;                  // as `caption` prints it, cut before the first stop string
  std::vector<std::int32_t> tokens;  // as generated, the end token included
  double score = 0;                  // as Generated::score
  bool cut = false;  // it has max_new_tokens, or all that there was room for, and neither an end
                     // token nor a stop string
  std::vector<ScoredToken> scored;  // of all tokens, if options.log_probabilities
};

struct TextResult {
  std::vector<WrittenText> texts;   // options.return_sequences, best first where beams wrote them
  std::int64_t prompt_tokens = 0;   // positions that the language model read: queries and text
  std::int64_t cached_tokens = 0;   // those of a picture that was known already
  std::int64_t written_tokens = 0;  // of all texts
  // Seconds: waiting and decoding the picture; encoding it and reading the prompt; writing.
  double queued = 0, reading = 0, writing = 0;
};

// Answers to one prompt about one picture: GenerationModel::generate's, whatever runs beside. Beams
// give their texts only at the end. Greedy search has one answer.
struct TextJob : Job {
  JobPicture picture;
  Prompt prompt;
  GenerationOptions options;  // a job's number of answers is options.return_sequences
  std::function<void(const TextPiece&)> on_text;  // empty: only the whole answer is wanted
  std::function<void(TextResult)> on_done;
};

// Unit vectors of contrast: `rows` vectors of `width` numbers, one for a text and one a query for a
// picture. A picture's similarity to a text is the cosine of its best query.
struct Embedding {
  std::int64_t rows = 0, width = 0;
  std::vector<float> values;  // row after row
  std::int64_t tokens = 0;    // that the model read of a text; queries of a picture
};
struct EmbeddingJob : Job {
  std::vector<JobPicture> pictures;
  std::vector<std::string> texts;
  struct Result {
    std::vector<Embedding> pictures, texts;
  };
  std::function<void(Result)> on_done;
};

// How every picture fits every text, as `match` says it.
struct MatchScore {
  double itc = 0;  // cosine
  double itm = 0;  // probability of a match
};
struct ScoreJob : Job {
  std::vector<JobPicture> pictures;
  std::vector<std::string> texts;
  struct Result {
    std::vector<std::vector<MatchScore>> scores;  // [pictures][texts]
    std::int64_t text_tokens = 0;                 // of all texts
  };
  std::function<void(Result)> on_done;
};

}  // namespace blip2
