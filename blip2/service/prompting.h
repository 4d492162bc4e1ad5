#pragma once

#include <memory>

#include "blip2/decoding/options.h"
#include "blip2/protocols/completion.h"
#include "blip2/serving/engine.h"

namespace blip2 {

// What the text of a chat's turn is for the model.
enum class PromptTask {
  automatic,  // a question, and a caption is asked for where there is no text
  caption,    // a caption is asked for, whatever the text says
  question,   // a question in the model's template
  raw         // the prompt itself, without a template
};

// What a server settles where a request does not.
struct PromptRules {
  PromptTask task = PromptTask::automatic;
  bool special_tokens = false;   // special tokens written out in texts count as tokens
  GenerationOptions generation;  // what requests leave out
};

// The prompt of a chat, as `blip2 chat` makes it. In a model of chats it is what the language
// model's chat template makes of the turns, with questions in the model's template; RequestError
// (400) if it refuses them. In others questions stand in the model's template, answers as plain
// text between blanks, and the text of system turns as plain text before all. Without any text it
// is the model's prompt for captions. Pure.
Prompt chat_prompt(const CompletionRequest& request, const EngineFacts& facts,
                   const PromptRules& rules);

// The picture as a job takes it; moves its bytes out of the request.
JobPicture job_picture(PictureSource& picture);

// A job for the request's one picture, without callbacks; moves the picture's bytes out of the
// request. RequestError (400) if the request has no picture, or if its numbers contradict each
// other.
std::shared_ptr<TextJob> text_job(CompletionRequest& request, const EngineFacts& facts,
                                  const PromptRules& rules);

}  // namespace blip2
