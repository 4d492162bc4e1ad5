#include <memory>
#include <utility>

#include "blip2/protocols/ollama.h"
#include "blip2/protocols/openai_chat.h"
#include "blip2/service/answers_internal.h"
#include "blip2/service/completion_writer_internal.h"
#include "blip2/service/service_call_internal.h"

namespace blip2 {
namespace {

using MakeWriter = std::function<std::unique_ptr<CompletionWriter>(CompletionRequest)>;

void attach(TextJob& job, std::shared_ptr<CompletionWriter> writer,
            std::shared_ptr<ServiceCall> call, bool stream) {
  if (stream) {
    job.on_text = [writer](const TextPiece& piece) { writer->piece(piece_of(piece)); };
  }
  job.on_done = [writer](const TextResult& result) { writer->done(result_of(result)); };
  job.on_error = [writer, call](const JobError& error) {
    writer->failed(refusal_of(error, *call));
  };
}

void complete(ServiceState& state, std::shared_ptr<ServiceCall> call, CompletionRequest parsed,
              const MakeWriter& make_writer) {
  auto request = std::make_shared<CompletionRequest>(std::move(parsed));
  std::vector<PictureSource*> pictures;
  for (Turn& turn : request->turns) collect_pictures(turn.parts, pictures);
  state.with_pictures(call, std::move(pictures), [&state, call, request, make_writer] {
    auto job = text_job(*request, state.engine->facts(), state.options.prompts);
    const bool stream = request->stream;
    attach(*job, make_writer(std::move(*request)), call, stream);
    state.submit({std::move(job)}, *call);
  });
}

void complete_for_ollama(ServiceState& state, std::shared_ptr<ServiceCall> call, OllamaRoute route,
                         CompletionRequest request) {
  AnswerHead head = state.head("", request.model);
  if (request.load_only) return call->json(ollama_answer(route, head, request, {}));
  complete(state, call, std::move(request), [=](CompletionRequest parsed) {
    return ollama_writer(route, call->reply, head, std::move(parsed));
  });
}

}  // namespace

void answer_openai_chat(ServiceState& state, std::shared_ptr<ServiceCall> call) {
  require_language(state);
  CompletionRequest request = parse_openai_chat(call->request.body, state.options.limits);
  AnswerHead head = state.head("chatcmpl-", request.model);
  complete(state, call, std::move(request), [=](CompletionRequest parsed) {
    return openai_writer(call->reply, head, std::move(parsed));
  });
}

void answer_ollama_generate(ServiceState& state, std::shared_ptr<ServiceCall> call) {
  require_language(state);
  complete_for_ollama(state, call, OllamaRoute::generate,
                      parse_ollama_generate(call->request.body, state.options.limits));
}

void answer_ollama_chat(ServiceState& state, std::shared_ptr<ServiceCall> call) {
  require_language(state);
  complete_for_ollama(state, call, OllamaRoute::chat,
                      parse_ollama_chat(call->request.body, state.options.limits));
}

void answer_ollama_show(ServiceState& state, std::shared_ptr<ServiceCall> call) {
  parse_ollama_show(call->request.body, state.options.limits);
  call->json(ollama_show(state.card));
}

}  // namespace blip2
