#include "blip2/service/service.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "blip2/protocols/content_type.h"
#include "blip2/protocols/ollama.h"
#include "blip2/service/metrics_internal.h"
#include "blip2/service/service_call_internal.h"

namespace blip2 {
namespace {

using Answer = void (*)(ServiceState&, std::shared_ptr<ServiceCall>);

struct Route {
  std::string_view method, path;
  Answer answer;
  bool before_model = false;  // whether it is answered while the model is loading
};

void answer_page(ServiceState& state, std::shared_ptr<ServiceCall> call) {
  call->reply->send(200, "text/html; charset=utf-8", state.options.page,
                    {{"Content-Security-Policy", state.options.page_policy},
                     {"X-Content-Type-Options", "nosniff"},
                     {"Referrer-Policy", "no-referrer"},
                     {"Cache-Control", "no-cache"}});
}

void answer_health(ServiceState& state, std::shared_ptr<ServiceCall> call) {
  if (state.draining) {
    return call->reply->send(503, kJsonType, R"({"status":"draining"})");
  }
  if (state.ready) return call->json(R"({"status":"ok"})");
  const nlohmann::json body = {{"status", "loading"}, {"progress", state.share.load()}};
  call->reply->send(503, kJsonType, body.dump(), {{"Retry-After", "1"}});
}

void answer_metrics(ServiceState& state, std::shared_ptr<ServiceCall> call) {
  call->reply->send(200, "text/plain; version=0.0.4; charset=utf-8",
                    prometheus_text(state.engine->counts(), state.options.http(),
                                    state.readers.waiting() + state.fetchers.waiting()));
}

void answer_models(ServiceState& state, std::shared_ptr<ServiceCall> call) {
  call->json(openai_models(state.card, state.options.limits));
}

void answer_tags(ServiceState& state, std::shared_ptr<ServiceCall> call) {
  call->json(ollama_tags(state.card));
}

void answer_running(ServiceState& state, std::shared_ptr<ServiceCall> call) {
  call->json(ollama_running(state.card));
}

void answer_version(ServiceState& state, std::shared_ptr<ServiceCall> call) {
  call->json(ollama_version(state.options.version));
}

constexpr std::array kRoutes{
    Route{"GET", "/", answer_page, true},
    Route{"GET", "/health", answer_health, true},
    Route{"GET", "/metrics", answer_metrics},
    Route{"GET", "/v1/models", answer_models},
    Route{"GET", "/api/tags", answer_tags},
    Route{"GET", "/api/ps", answer_running},
    Route{"GET", "/api/version", answer_version, true},
    Route{"POST", "/v1/chat/completions", answer_openai_chat},
    Route{"POST", "/v1/embeddings", answer_embeddings},
    Route{"POST", "/v1/rerank", answer_rerank},
    Route{"POST", "/v1/score", answer_score},
    Route{"POST", "/api/generate", answer_ollama_generate},
    Route{"POST", "/api/chat", answer_ollama_chat},
    Route{"POST", "/api/show", answer_ollama_show},
    Route{"POST", "/tokenize", answer_tokenize},
    Route{"POST", "/detokenize", answer_detokenize},
};

constexpr std::string_view kModels = "/v1/models/";

const Route* route_of(std::string_view path) {
  for (const Route& route : kRoutes) {
    if (route.path == path) return &route;
  }
  return nullptr;
}

bool fits(const Route& route, std::string_view method) {
  return route.method == method || (route.method == "GET" && method == "HEAD");
}

// GET /v1/models/NAME; an answer of 404 for every other name.
void answer_model(const ServiceState& state, const ServiceCall& call) {
  const std::string name = call.request.path.substr(kModels.size());
  if (name == state.card.name) return call.json(openai_model(state.card, state.options.limits));
  call.refuse({404, "model_not_found", "model", "the model '" + name + "' is not here"});
}

void refuse_method(const Route& route, const ServiceCall& call) {
  call.refuse({405, "method_not_allowed", "",
               std::string(route.path) + " takes " + std::string(route.method)},
              {{"Allow", route.method == "GET" ? "GET, HEAD" : std::string(route.method)}});
}

// Hands a request with a body to a thread that reads it, or refuses it at once.
void read_later(ServiceState& state, const Route& route, std::shared_ptr<ServiceCall> call) {
  const bool posted = state.readers.post([&state, answer = route.answer, call] {
    if (call->reply->gone()) return;
    answer_failures(*call, [&] {
      const bool ollama = call->form == ErrorForm::ollama;
      check_content_type(call->request.header("content-type"),
                         ollama ? ContentTypeRule::any_text : ContentTypeRule::json);
      answer(state, call);
      std::string().swap(call->request.body);  // it has been read; the rest lives with the answer
    });
  });
  if (!posted) call->refuse_busy(state.seconds_to_wait());
}

void dispatch(ServiceState& state, const Route& route, std::shared_ptr<ServiceCall> call) {
  if (!fits(route, call->request.method)) return refuse_method(route, *call);
  if (!state.ready && !route.before_model) {
    return call->refuse({503, "loading", "", "the model is still loading"}, {{"Retry-After", "1"}});
  }
  if (route.method == "GET") return route.answer(state, call);
  if (state.draining) return call->refuse({503, "stopping", "", "the server is stopping"});
  read_later(state, route, std::move(call));
}

}  // namespace

struct Service::Parts : ServiceState {
  using ServiceState::ServiceState;
};

Service::Service(ServiceOptions options) : parts_(std::make_unique<Parts>(std::move(options))) {}
Service::~Service() = default;

void Service::handle(HttpRequest request, std::shared_ptr<HttpReply> reply) {
  ServiceState& state = *parts_;
  auto call = std::make_shared<ServiceCall>();
  call->request = std::move(request);
  call->reply = std::move(reply);
  const std::string& path = call->request.path;
  if (path.starts_with("/api/")) call->form = ErrorForm::ollama;
  answer_failures(*call, [&] {
    if (const Route* route = route_of(path)) return dispatch(state, *route, call);
    if (path.starts_with(kModels) && state.ready && call->request.method == "GET") {
      return answer_model(state, *call);
    }
    call->refuse({404, "not_found", "", "there is nothing at " + path});
  });
}

void Service::loading(double share) {
  parts_->share = share;
}

void Service::open(std::unique_ptr<Engine> engine, ModelCard card) {
  const EngineFacts& facts = engine->facts();
  card.max_model_len = facts.positions;
  card.image_size = std::max(facts.picture_width, facts.picture_height);
  card.embedding_width = facts.embedding_width;
  card.quantization = facts.weights;
  card.generates = facts.generates;
  std::int64_t& most = parts_->options.limits.max_tokens;
  if (facts.generates) most = std::min(most, facts.positions);
  parts_->card = std::move(card);
  parts_->engine = std::move(engine);
  parts_->ready = true;
}

bool Service::drain(std::chrono::milliseconds limit) {
  parts_->draining = true;
  return !parts_->engine || parts_->engine->drain(limit);
}

}  // namespace blip2
