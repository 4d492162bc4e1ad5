#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <exception>
#include <random>
#include <utility>

#include "blip2/base/log.h"
#include "blip2/protocols/picture_fetch.h"
#include "blip2/service/answers_internal.h"
#include "blip2/service/service_call_internal.h"

namespace blip2 {
namespace {

// A name that no other answer has.
std::string fresh_id(const std::string& prefix) {
  thread_local std::mt19937_64 random{std::random_device{}()};
  return fmt::format("{}{:016x}{:016x}", prefix, random(), random());
}

}  // namespace

void ServiceCall::refuse(const RequestError& error, HttpHeaders headers) const {
  const bool ollama = form == ErrorForm::ollama;
  reply->send(error.status(), kJsonType, ollama ? ollama_error(error) : openai_error(error),
              std::move(headers));
}

void ServiceCall::refuse_busy(double seconds) const {
  refuse({429, "queue_full", "", "too many requests wait; try again later"},
         {{"Retry-After", fmt::format("{:.0f}", std::ceil(seconds))}});
}

ServiceState::ServiceState(ServiceOptions given)
    : options(std::move(given)),
      readers(options.readers, options.most_unread),
      fetchers(options.fetchers, options.most_unread) {}

double ServiceState::seconds_to_wait() const {
  const EngineCounts counts = engine->counts();
  const double spent = counts.encode_seconds + counts.prompt_seconds + counts.write_seconds +
                       counts.retrieval_seconds;
  const double each = counts.done > 0 ? spent / static_cast<double>(counts.done) : 1;
  return std::clamp(each * static_cast<double>(counts.waiting) / 2, 1.0, 60.0);
}

AnswerHead ServiceState::head(const std::string& prefix, const std::string& model) const {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(now);
  const auto rest = std::chrono::duration_cast<std::chrono::nanoseconds>(now - seconds);
  return {fresh_id(prefix), model, seconds.count(), rest.count()};
}

void ServiceState::submit(std::vector<std::shared_ptr<Job>> jobs, const ServiceCall& call) const {
  const auto cancel = [jobs] {
    for (const auto& job : jobs) job->cancel();
  };
  for (const auto& job : jobs) {
    if (engine->submit(job)) continue;
    cancel();
    if (!engine->draining()) return call.refuse_busy(seconds_to_wait());
    return call.refuse({503, "stopping", "", "the server is stopping"});
  }
  call.reply->on_gone(cancel);
}

void ServiceState::with_pictures(std::shared_ptr<ServiceCall> call,
                                 std::vector<PictureSource*> pictures, std::function<void()> then) {
  std::erase_if(pictures, [](const PictureSource* picture) { return picture->url.empty(); });
  if (pictures.empty()) return then();
  auto fetch = [this, call, pictures = std::move(pictures), then = std::move(then)] {
    answer_failures(*call, [&] {
      FetchOptions fetching;
      fetching.cancelled = [&] { return call->reply->gone(); };
      for (PictureSource* picture : pictures) {
        fetch_picture(*picture, options.limits.pictures, fetching);
      }
      then();
    });
  };
  if (!fetchers.post(std::move(fetch))) call->refuse_busy(1);
}

RequestError refusal_of(const JobError& error, const ServiceCall& call) {
  if (error.fault == JobFault::failed) {
    log_warning("request {}: {}", call.request.request_id, error.message);
  }
  return error_of(error);
}

void require_language(const ServiceState& state) {
  if (state.engine->facts().generates) return;
  throw RequestError(400, "not_supported", "model",
                     "this model has no language model, so it writes no texts and has no tokens; "
                     "it compares pictures with texts: /v1/score, /v1/rerank, /v1/embeddings");
}

void answer_failures(const ServiceCall& call, const std::function<void()>& work) {
  try {
    work();
  } catch (const RequestError& error) {
    call.refuse(error);
  } catch (const std::exception& failure) {
    call.refuse(refusal_of({JobFault::failed, failure.what()}, call));
  }
}

void collect_pictures(std::span<Part> parts, std::vector<PictureSource*>& pictures) {
  for (Part& part : parts) {
    if (part.picture) pictures.push_back(&*part.picture);
  }
}

}  // namespace blip2
