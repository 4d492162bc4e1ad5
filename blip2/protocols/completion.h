#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace blip2 {

// A picture of a request. Parsers have checked the header of `bytes`; what a `url` leads to is
// fetched and checked by fetch_picture (picture_fetch.h).
struct PictureSource {
  std::string bytes;  // an encoded file, of one of picture_kinds(); empty if there is a URL
  std::string url;    // https:// or file://, allowed by the PictureRules
  std::string param;  // the member of the request, for errors
};

// A piece of a message: a text or a picture.
struct Part {
  std::string text;
  std::optional<PictureSource> picture;
};

struct Turn {
  std::string role;  // "system", "user" or "assistant"
  std::vector<Part> parts;
};

// The settings that a request names, under the names and with the meanings of GenerationOptions;
// what it leaves out is the model's to settle. `sample` is set where the request says how to draw.
struct GenerationSettings {
  std::optional<std::int64_t> max_new_tokens, min_new_tokens, beams, no_repeat_ngram_size, top_k;
  std::optional<double> length_penalty, repetition_penalty, temperature, top_p;
  std::optional<bool> sample;
  std::optional<std::uint64_t> seed;

  // visit("max_new_tokens", max_new_tokens), and so on for each setting.
  template <typename Visit>
  void each(Visit&& visit) const {
    visit("max_new_tokens", max_new_tokens);
    visit("min_new_tokens", min_new_tokens);
    visit("beams", beams);
    visit("no_repeat_ngram_size", no_repeat_ngram_size);
    visit("top_k", top_k);
    visit("length_penalty", length_penalty);
    visit("repetition_penalty", repetition_penalty);
    visit("temperature", temperature);
    visit("top_p", top_p);
    visit("sample", sample);
    visit("seed", seed);
  }
};

// A chat or a prompt of any of the protocols. There is at least one picture or a text that is not
// blank, unless `load_only`.
struct CompletionRequest {
  std::string model;        // as the request names it, or the server's own name
  std::vector<Turn> turns;  // the last one is not the assistant's
  GenerationSettings settings;
  std::vector<std::string> stop;                       // not in the answer
  double presence_penalty = 0, frequency_penalty = 0;  // -2 to 2
  std::int64_t n = 1;                                  // answers; more than 1: sampled or beams
  bool logprobs = false;
  std::int64_t top_logprobs = 0;
  bool stream = false, include_usage = false;
  bool load_only = false;  // Ollama: no prompt, only whether the model is there
  bool raw = false;        // Ollama: the prompt is to be used without the model's template
};

struct TopToken {
  std::string token;  // bytes; need not be whole UTF-8 characters
  double logprob = 0;
};

struct TokenLogprob {
  std::string token;
  double logprob = 0;
  std::vector<TopToken> top;
};

struct Choice {
  std::string text;
  std::string finish_reason = "stop";  // "stop" or "length"
  std::vector<TokenLogprob> tokens;    // if logprobs were asked for
};

struct Usage {
  std::int64_t prompt_tokens = 0, completion_tokens = 0, cached_tokens = 0;
};

// In nanoseconds.
struct Durations {
  std::int64_t total = 0, load = 0, prompt = 0, generation = 0;
};

struct CompletionResult {
  std::vector<Choice> choices;
  Usage usage;
  Durations durations;
};

// What every answer says of itself; passed in, so that the functions that write answers are pure.
struct AnswerHead {
  std::string id;               // "chatcmpl-…"
  std::string model;            // the request's name for it
  std::int64_t created = 0;     // seconds since 1970
  std::int64_t created_ns = 0;  // nanoseconds beyond `created`; Ollama's times show them
};

// A step of a streamed answer. Text and tokens may each be empty.
struct CompletionPiece {
  std::int64_t choice = 0;
  std::string text;  // whole UTF-8 characters
  std::vector<TokenLogprob> tokens;
};

}  // namespace blip2
