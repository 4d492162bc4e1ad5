#include <string>
#include <utility>

#include "blip2/protocols/openai_chat.h"
#include "blip2/service/completion_writer_internal.h"

namespace blip2 {
namespace {

constexpr char kJson[] = "application/json";

class OpenAiWriter : public CompletionWriter {
 public:
  OpenAiWriter(std::shared_ptr<HttpReply> reply, AnswerHead head, CompletionRequest request)
      : reply_(std::move(reply)), head_(std::move(head)), request_(std::move(request)) {}

  void piece(const CompletionPiece& piece) override {
    begin();
    event(openai_chunk(head_, request_, piece));
  }

  void done(const CompletionResult& result) override {
    if (!request_.stream) {
      return reply_->send(200, kJson, openai_completion(head_, request_, result));
    }
    begin();
    for (std::size_t i = 0; i < result.choices.size(); ++i) {
      event(openai_last_chunk(head_, request_, static_cast<std::int64_t>(i),
                              result.choices[i].finish_reason));
    }
    if (request_.include_usage) event(openai_usage_chunk(head_, result.usage));
    reply_->write(std::string(kServerSentEnd));
    reply_->end();
  }

  void failed(const RequestError& error) override {
    if (!begun_) return reply_->send(error.status(), kJson, openai_error(error));
    event(openai_error(error));
    reply_->end();
  }

 private:
  void begin() {
    if (std::exchange(begun_, true)) return;
    reply_->begin_stream(200, "text/event-stream",
                         {{"Cache-Control", "no-cache"}, {"X-Accel-Buffering", "no"}});
    for (std::int64_t choice = 0; choice < request_.n; ++choice) {
      event(openai_first_chunk(head_, request_, choice));
    }
  }
  void event(const std::string& body) { reply_->write(server_sent(body)); }

  std::shared_ptr<HttpReply> reply_;
  AnswerHead head_;
  CompletionRequest request_;
  bool begun_ = false;
};

class OllamaWriter : public CompletionWriter {
 public:
  OllamaWriter(OllamaRoute route, std::shared_ptr<HttpReply> reply, AnswerHead head,
               CompletionRequest request)
      : route_(route),
        reply_(std::move(reply)),
        head_(std::move(head)),
        request_(std::move(request)) {}

  void piece(const CompletionPiece& piece) override {
    if (piece.text.empty()) return;
    begin();
    reply_->write(ollama_line(route_, head_, piece));
  }

  void done(const CompletionResult& result) override {
    if (!request_.stream) {
      return reply_->send(200, kJson, ollama_answer(route_, head_, request_, result));
    }
    begin();
    reply_->write(ollama_last_line(route_, head_, result));
    reply_->end();
  }

  void failed(const RequestError& error) override {
    if (!begun_) return reply_->send(error.status(), kJson, ollama_error(error));
    reply_->write(ollama_error(error) + "\n");
    reply_->end();
  }

 private:
  void begin() {
    if (std::exchange(begun_, true)) return;
    reply_->begin_stream(200, "application/x-ndjson", {{"X-Accel-Buffering", "no"}});
  }

  OllamaRoute route_;
  std::shared_ptr<HttpReply> reply_;
  AnswerHead head_;
  CompletionRequest request_;
  bool begun_ = false;
};

}  // namespace

std::unique_ptr<CompletionWriter> openai_writer(std::shared_ptr<HttpReply> reply, AnswerHead head,
                                                CompletionRequest request) {
  return std::make_unique<OpenAiWriter>(std::move(reply), std::move(head), std::move(request));
}

std::unique_ptr<CompletionWriter> ollama_writer(OllamaRoute route, std::shared_ptr<HttpReply> reply,
                                                AnswerHead head, CompletionRequest request) {
  return std::make_unique<OllamaWriter>(route, std::move(reply), std::move(head),
                                        std::move(request));
}

}  // namespace blip2
