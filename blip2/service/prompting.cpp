#include "blip2/service/prompting.h"

#include <string>
#include <type_traits>
#include <utility>

#include "blip2/base/error.h"
#include "blip2/protocols/request_error.h"

namespace blip2 {
namespace {

std::string text_of(const Turn& turn) {
  std::string text;
  for (const Part& part : turn.parts) {
    if (part.picture) continue;
    if (!text.empty() && !part.text.empty()) text += '\n';
    text += part.text;
  }
  return text;
}

bool blank(const std::string& text) {
  return text.find_first_not_of(" \t\r\n") == std::string::npos;
}

Prompt typed(const std::string& text, const PromptRules& rules) {
  return rules.special_tokens ? Prompt(text) : Prompt::plain(text);
}

Prompt user_prompt(const std::string& text, bool raw, const EngineFacts& facts,
                   const PromptRules& rules) {
  const bool caption = rules.task == PromptTask::caption ||
                       (rules.task == PromptTask::automatic && !raw && blank(text));
  if (caption) return Prompt(facts.caption_prompt);
  if (raw || rules.task == PromptTask::raw) return typed(text, rules);
  if (facts.question_prompt.find("{}") == std::string::npos) {
    throw RequestError(400, "not_supported", "messages",
                       "this model takes no questions: its template for them has no {}");
  }
  return fill_template(facts.question_prompt, typed(text, rules));
}

// The turns as the chat template has them.
Prompt templated_prompt(const CompletionRequest& request, const EngineFacts& facts,
                        const PromptRules& rules) {
  std::vector<ChatMessage> messages;
  for (const Turn& turn : request.turns) {
    const std::string text = text_of(turn);
    if (turn.role == "user") {
      messages.push_back({"user", user_prompt(text, false, facts, rules)});
    } else if (turn.role == "assistant") {
      messages.push_back({"assistant", Prompt::plain(text)});
    } else if (!blank(text)) {
      messages.push_back({"system", Prompt::plain(text)});
    }
  }
  try {
    return facts.chat->apply(messages, prompt_choices());
  } catch (const Error& error) {
    throw RequestError(400, "invalid_value", "messages", error.message());
  }
}

PictureSource* picture_of(CompletionRequest& request) {
  for (Turn& turn : request.turns) {
    for (Part& part : turn.parts) {
      if (part.picture) return &*part.picture;
    }
  }
  return nullptr;
}

GenerationOptions options_of(const CompletionRequest& request, const PromptRules& rules) {
  GenerationOptions options = rules.generation;
  bool beams_given = false;
  GenerationOptions::fields(options, [&](std::string_view key, auto& field, std::string_view) {
    request.settings.each([&](std::string_view name, const auto& value) {
      if (name != key || !value) return;
      if constexpr (std::is_same_v<std::remove_cvref_t<decltype(*value)>,
                                   std::remove_cvref_t<decltype(field)>>) {
        field = *value;
      }
      beams_given = beams_given || key == "beams";
    });
  });
  if (options.sample && !beams_given) options.beams = 1;  // as the command line has it
  options.return_sequences = request.n;
  options.stop_strings = request.stop;
  options.presence_penalty = request.presence_penalty;
  options.frequency_penalty = request.frequency_penalty;
  options.log_probabilities = request.logprobs;
  options.top_log_probabilities = request.top_logprobs;
  return options;
}

}  // namespace

Prompt chat_prompt(const CompletionRequest& request, const EngineFacts& facts,
                   const PromptRules& rules) {
  Prompt prompt;
  if (rules.task == PromptTask::caption) return Prompt(facts.caption_prompt);
  const bool raw = request.raw || rules.task == PromptTask::raw;
  if (facts.chat && !raw) return templated_prompt(request, facts, rules);
  for (const Turn& turn : request.turns) {
    const std::string text = text_of(turn);
    if (turn.role == "user") {
      prompt.add(user_prompt(text, request.raw, facts, rules));
    } else if (turn.role == "assistant") {
      prompt.add_plain(" " + text + " ");
    } else if (!blank(text)) {
      prompt.add_plain(text + " ");
    }
  }
  if (!facts.chat) return prompt;
  const PlainText plain = prompt.plain_parts();  // a raw one, which gets no template
  return Prompt::whole(prompt.text(), {plain.begin(), plain.end()});
}

JobPicture job_picture(PictureSource& picture) {
  return {std::move(picture.bytes), picture.param.empty() ? "picture" : picture.param};
}

std::shared_ptr<TextJob> text_job(CompletionRequest& request, const EngineFacts& facts,
                                  const PromptRules& rules) {
  PictureSource* picture = picture_of(request);
  if (picture == nullptr) {
    throw RequestError(400, "missing_image", "messages",
                       "expected a picture: this model answers about one; send it as a part of "
                       "type image_url, or in Ollama's images");
  }
  auto job = std::make_shared<TextJob>();
  job->picture = job_picture(*picture);
  job->prompt = chat_prompt(request, facts, rules);
  job->options = options_of(request, rules);
  return job;
}

}  // namespace blip2
