#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <mutex>

#include "blip2/protocols/request_error.h"
#include "blip2/service/answers_internal.h"
#include "blip2/service/metrics_internal.h"
#include "blip2/service/prompting.h"
#include "blip2/service/service.h"
#include "blip2/service/workers_internal.h"

namespace blip2 {
namespace {

Part text_part(std::string text) {
  return {std::move(text), {}};
}

Part picture_part() {
  return {"", PictureSource{"bytes", "", "messages[0].content[0].image_url"}};
}

EngineFacts facts() {
  EngineFacts facts;
  facts.caption_prompt = "a photo of";
  facts.question_prompt = "Question: {} Answer:";
  return facts;
}

std::string prompt_of(std::vector<Turn> turns, PromptTask task = PromptTask::automatic) {
  CompletionRequest request;
  request.turns = std::move(turns);
  PromptRules rules;
  rules.task = task;
  return chat_prompt(request, facts(), rules).text();
}

TEST(Prompting, FillsTheModelsTemplates) {
  EXPECT_EQ(prompt_of({{"user", {picture_part()}}}), "a photo of");
  EXPECT_EQ(prompt_of({{"user", {picture_part(), text_part(" \n")}}}), "a photo of");
  EXPECT_EQ(prompt_of({{"user", {picture_part(), text_part("why?")}}}), "Question: why? Answer:");
  EXPECT_EQ(prompt_of({{"user", {text_part("a"), picture_part(), text_part("b")}}}),
            "Question: a\nb Answer:");
}

TEST(Prompting, KeepsTheDialogue) {
  EXPECT_EQ(prompt_of({{"system", {text_part("Be brief.")}},
                       {"user", {picture_part(), text_part("what?")}},
                       {"assistant", {text_part("a dog")}},
                       {"user", {text_part("where?")}}}),
            "Be brief. Question: what? Answer: a dog Question: where? Answer:");
}

TEST(Prompting, FollowsTheTask) {
  const std::vector<Turn> turns = {{"user", {picture_part(), text_part("say {}")}}};
  EXPECT_EQ(prompt_of(turns, PromptTask::raw), "say {}");
  EXPECT_EQ(prompt_of(turns, PromptTask::caption), "a photo of");
  EXPECT_EQ(prompt_of(turns, PromptTask::question), "Question: say {} Answer:");
  EXPECT_EQ(prompt_of({{"user", {picture_part()}}}, PromptTask::question), "Question:  Answer:");
}

TEST(Prompting, FollowsTheChatTemplate) {
  EngineFacts chats = facts();
  chats.chat = std::make_shared<ChatTemplate>(
      ChatTemplateSource{"{% for m in messages %}{% if m.role == 'tool' or loop.index > 4 %}{{ "
                         "raise_exception('no') }}"
                         "{% endif %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>",
                         "template",
                         {}});
  const auto prompt = [&](std::vector<Turn> turns, PromptTask task = PromptTask::automatic) {
    CompletionRequest request;
    request.turns = std::move(turns);
    PromptRules rules;
    rules.task = task;
    return chat_prompt(request, chats, rules);
  };
  const std::vector<Turn> turns = {{"system", {text_part("Be brief.")}},
                                   {"user", {picture_part(), text_part("what?")}},
                                   {"assistant", {text_part("a dog")}},
                                   {"user", {text_part("where?")}}};
  EXPECT_EQ(prompt(turns).text(),
            "<system>Be brief.<user>Question: what? Answer:<assistant>a dog"
            "<user>Question: where? Answer:<assistant>");
  EXPECT_TRUE(prompt(turns).is_whole());
  EXPECT_EQ(prompt({{"user", {picture_part()}}}).text(), "<user>a photo of<assistant>");
  EXPECT_EQ(prompt({turns[1]}, PromptTask::raw).text(), "what?");
  EXPECT_EQ(prompt({turns[1]}, PromptTask::caption).text(), "a photo of");
  EXPECT_THROW(prompt({turns[1], turns[2], turns[1], turns[2], turns[1]}), RequestError);
}

TEST(Prompting, TakesSettingsOverTheModels) {
  CompletionRequest request;
  request.turns = {{"user", {picture_part()}}};
  request.settings.sample = true;
  request.settings.temperature = 0.5;
  request.n = 2;
  PromptRules rules;
  rules.generation.beams = 5;
  rules.generation.max_new_tokens = 7;
  const auto job = text_job(request, facts(), rules);
  EXPECT_EQ(job->options.beams, 1);
  EXPECT_EQ(job->options.max_new_tokens, 7);
  EXPECT_EQ(job->options.temperature, 0.5);
  EXPECT_EQ(job->options.return_sequences, 2);
  EXPECT_EQ(job->picture.bytes, "bytes");
}

TEST(Prompting, AsksForAPicture) {
  CompletionRequest request;
  request.turns = {{"user", {text_part("hello")}}};
  EXPECT_THROW(text_job(request, facts(), {}), RequestError);
}

TEST(Answers, HideInnerFaults) {
  EXPECT_EQ(error_of({JobFault::failed, "secret path"}).status(), 500);
  EXPECT_EQ(openai_error(error_of({JobFault::failed, "secret path"})).find("secret"),
            std::string::npos);
  EXPECT_EQ(error_of({JobFault::bad_picture, "no JPEG"}).status(), 400);
  EXPECT_EQ(error_of({JobFault::timed_out, ""}).status(), 504);
}

TEST(Metrics, SumsBuckets) {
  EngineCounts counts;
  counts.first_token.add(0.02);
  counts.first_token.add(100);
  HttpCounts http;
  http.answers[200] = 3;
  const std::string text = prometheus_text(counts, http, 0);
  EXPECT_NE(text.find("blip2_first_token_seconds_bucket{le=\"0.025\"} 1\n"), std::string::npos);
  EXPECT_NE(text.find("blip2_first_token_seconds_bucket{le=\"60\"} 1\n"), std::string::npos);
  EXPECT_NE(text.find("blip2_first_token_seconds_bucket{le=\"+Inf\"} 2\n"), std::string::npos);
  EXPECT_NE(text.find("blip2_http_requests_total{status=\"200\"} 3\n"), std::string::npos);
}

TEST(Workers, RefuseWhatDoesNotFit) {
  std::mutex mutex;
  std::condition_variable changed;
  bool open = false, taken = false;
  std::atomic<int> done = 0;
  Workers workers(1, 1);
  ASSERT_TRUE(workers.post([&] {
    std::unique_lock lock(mutex);
    taken = true;
    changed.notify_all();
    changed.wait(lock, [&] { return open; });
    ++done;
  }));
  std::unique_lock lock(mutex);
  changed.wait(lock, [&] { return taken; });
  EXPECT_TRUE(workers.post([&] { ++done; }));
  EXPECT_FALSE(workers.post([&] { ++done; }));
  open = true;
  changed.notify_all();
  lock.unlock();
  while (done < 2) std::this_thread::yield();
}

// Remembers the answer.
class Recorder : public HttpReply {
 public:
  void send(int code, std::string, std::string body, HttpHeaders) override {
    status = code;
    text = std::move(body);
  }
  void begin_stream(int, std::string, HttpHeaders) override {}
  void write(std::string) override {}
  void end() override {}
  bool gone() const override { return false; }
  void on_gone(std::function<void()>) override {}

  int status = 0;
  std::string text;
};

int status_of(Service& service, const std::string& method, const std::string& path) {
  HttpRequest request;
  request.method = method;
  request.path = path;
  const auto reply = std::make_shared<Recorder>();
  service.handle(std::move(request), reply);
  return reply->status;
}

TEST(Service, SaysThatItLoads) {
  ServiceOptions options;
  options.page = "<html>";
  Service service(options);
  EXPECT_EQ(status_of(service, "GET", "/health"), 503);
  EXPECT_EQ(status_of(service, "POST", "/v1/chat/completions"), 503);
  EXPECT_EQ(status_of(service, "GET", "/metrics"), 503);
  EXPECT_EQ(status_of(service, "GET", "/"), 200);
  EXPECT_EQ(status_of(service, "PUT", "/v1/embeddings"), 405);
  EXPECT_EQ(status_of(service, "GET", "/none"), 404);
}

}  // namespace
}  // namespace blip2
