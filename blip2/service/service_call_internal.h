#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "blip2/http/server.h"
#include "blip2/protocols/completion.h"
#include "blip2/protocols/request_error.h"
#include "blip2/service/service.h"
#include "blip2/service/workers_internal.h"

namespace blip2 {

inline constexpr char kJsonType[] = "application/json";

enum class ErrorForm { openai, ollama };

// A request and its reply.
struct ServiceCall {
  HttpRequest request;
  std::shared_ptr<HttpReply> reply;
  ErrorForm form = ErrorForm::openai;

  void json(std::string body) const { reply->send(200, kJsonType, std::move(body)); }
  void refuse(const RequestError& error, HttpHeaders headers = {}) const;
  // The request that is refused because too many wait; says when to try again.
  void refuse_busy(double seconds) const;
};

// What all routes need: the model once it is loaded, and the threads that read requests.
struct ServiceState {
  explicit ServiceState(ServiceOptions given);

  ServiceOptions options;
  std::unique_ptr<Engine> engine;  // set once, before `ready`
  ModelCard card;
  std::atomic<double> share = 0;
  std::atomic<bool> ready = false, draining = false;
  Workers readers, fetchers;

  // Seconds after which a place in the queue is likely to be free, 1 to 60.
  double seconds_to_wait() const;
  AnswerHead head(const std::string& prefix, const std::string& model) const;
  // Submits the jobs of a call and cancels them when the client goes; if the queue is full before
  // all of them are in it, none is done and the call is refused.
  void submit(std::vector<std::shared_ptr<Job>> jobs, const ServiceCall& call) const;
  // Calls `then` once all pictures have their bytes: at once, or on a thread that fetches them.
  // What `then` throws, and failures to fetch, are answered.
  void with_pictures(std::shared_ptr<ServiceCall> call, std::vector<PictureSource*> pictures,
                     std::function<void()> then);
};

// What the client of a call is told of a job's fault; a fault inside the program goes to the log.
RequestError refusal_of(const JobError& error, const ServiceCall& call);

// RequestError if the model has no language model.
void require_language(const ServiceState& state);

// Calls the work and answers what it throws.
void answer_failures(const ServiceCall& call, const std::function<void()>& work);

// The pictures among parts.
void collect_pictures(std::span<Part> parts, std::vector<PictureSource*>& pictures);

// The routes that take a body. Each is called on a thread that reads; throws RequestError.
void answer_openai_chat(ServiceState& state, std::shared_ptr<ServiceCall> call);
void answer_ollama_generate(ServiceState& state, std::shared_ptr<ServiceCall> call);
void answer_ollama_chat(ServiceState& state, std::shared_ptr<ServiceCall> call);
void answer_ollama_show(ServiceState& state, std::shared_ptr<ServiceCall> call);
void answer_embeddings(ServiceState& state, std::shared_ptr<ServiceCall> call);
void answer_score(ServiceState& state, std::shared_ptr<ServiceCall> call);
void answer_rerank(ServiceState& state, std::shared_ptr<ServiceCall> call);
void answer_tokenize(ServiceState& state, std::shared_ptr<ServiceCall> call);
void answer_detokenize(ServiceState& state, std::shared_ptr<ServiceCall> call);

}  // namespace blip2
