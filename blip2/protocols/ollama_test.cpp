#include "blip2/protocols/ollama.h"

#include "blip2/protocols/requests_test.h"

namespace blip2 {
namespace {

using nlohmann::json;
using testing::HasSubstr;

CompletionRequest generate(const json& request, const RequestLimits& limits = {}) {
  return parse_ollama_generate(request.dump(), limits);
}
std::string generate_fault(const json& request) {
  return refusal([&] { generate(request); });
}
std::string chat_fault(const json& request) {
  return refusal([&] { parse_ollama_chat(request.dump(), {}); });
}

TEST(Ollama, ReadsGenerate) {
  const CompletionRequest r = generate({{"model", "m"},
                                        {"prompt", "What?"},
                                        {"system", "Be brief."},
                                        {"images", {encode_base64(small_png())}},
                                        {"keep_alive", "5m"},
                                        {"raw", true},
                                        {"format", ""},
                                        {"options",
                                         {{"num_predict", 9},
                                          {"temperature", 0},
                                          {"seed", 5},
                                          {"stop", "x"},
                                          {"repeat_penalty", 1.1},
                                          {"num_ctx", 2048}}}});
  EXPECT_EQ(r.model, "m");
  ASSERT_EQ(r.turns.size(), 2u);
  EXPECT_EQ(r.turns[0].role, "system");
  ASSERT_EQ(r.turns[1].parts.size(), 2u);
  EXPECT_EQ(r.turns[1].parts[0].picture->bytes, small_png());
  EXPECT_EQ(r.turns[1].parts[1].text, "What?");
  EXPECT_TRUE(r.stream && r.raw);
  EXPECT_FALSE(r.load_only);
  EXPECT_EQ(r.settings.max_new_tokens, 9);
  EXPECT_EQ(r.settings.sample, false);
  EXPECT_EQ(r.settings.seed, 5u);
  EXPECT_EQ(r.settings.repetition_penalty, 1.1);
  EXPECT_THAT(r.stop, testing::ElementsAre("x"));
}

TEST(Ollama, TakesAPictureAloneAndAnEmptyRequest) {
  EXPECT_FALSE(generate({{"model", "m"}, {"images", {small_uri()}}, {"stream", false}}).load_only);
  EXPECT_TRUE(generate({{"model", "m"}}).load_only);
  EXPECT_TRUE(parse_ollama_chat(R"({"model":"m","messages":[]})", {}).load_only);
  EXPECT_EQ(parse_ollama_show(R"({"name":"m"})", {}), "m");
}

TEST(Ollama, TakesPhotoPrismsRequests) {
  const json request = {{"id", "b0d1"},
                        {"model", "m"},
                        {"version", "latest"},
                        {"prompt", "Create a caption."},
                        {"suffix", ""},
                        {"stream", false},
                        {"images", {encode_base64(small_png())}},
                        {"options", {{"temperature", 0.1}, {"top_p", 0.9}, {"stop", {"\n\n"}}}}};
  EXPECT_EQ(generate_fault(request), "none");
}

TEST(Ollama, ReadsAsManyTokensAsThereMayBe) {
  const auto most = [](int asked) {
    return generate({{"model", "m"}, {"prompt", "x"}, {"options", {{"num_predict", asked}}}})
        .settings.max_new_tokens;
  };
  EXPECT_EQ(most(-1), 2048);
  EXPECT_EQ(most(-2), 2048);
  EXPECT_EQ(most(2147483647), 2048);
  EXPECT_EQ(most(3), 3);
  const json request = {{"model", "m"}, {"prompt", "x"}, {"options", {{"seed", -1}}}};
  EXPECT_EQ(generate(request).settings.seed, std::nullopt);
}

TEST(Ollama, ReadsChats) {
  const json request = {
      {"model", "m"},
      {"stream", false},
      {"messages",
       {{{"role", "user"}, {"content", "What?"}, {"images", {encode_base64(small_png())}}},
        {{"role", "assistant"}, {"content", "A cat."}},
        {{"role", "user"}, {"content", "Sure?"}}}}};
  const CompletionRequest r = parse_ollama_chat(request.dump(), {});
  ASSERT_EQ(r.turns.size(), 3u);
  EXPECT_TRUE(r.turns[0].parts[0].picture.has_value());
  EXPECT_EQ(r.turns[0].parts[1].text, "What?");
  EXPECT_FALSE(r.stream);
}

TEST(Ollama, RefusesBadRequests) {
  EXPECT_THAT(generate_fault({{"prompt", "x"}}), HasSubstr("400 missing_parameter model"));
  EXPECT_THAT(generate_fault({{"model", "m"}, {"prompt", 3}}),
              HasSubstr("prompt: expected a string, got 3"));
  EXPECT_THAT(generate_fault({{"model", "m"}, {"images", "x"}}),
              HasSubstr("images: expected a list"));
  EXPECT_THAT(generate_fault({{"model", "m"}, {"images", {1}}}),
              HasSubstr("images[0]: expected a string, got 1"));
  EXPECT_THAT(generate_fault({{"model", "m"}, {"images", {"R0lG"}}}),
              HasSubstr("images[0]: expected a JPEG"));
  EXPECT_THAT(generate_fault({{"model", "m"}, {"prompt", "x"}, {"format", "json"}}),
              HasSubstr("format"));
  EXPECT_THAT(generate_fault({{"model", "m"}, {"prompt", "x"}, {"context", {1}}}),
              HasSubstr("context"));
  EXPECT_THAT(generate_fault({{"model", "m"}, {"prompt", "x"}, {"stream", "no"}}),
              HasSubstr("stream"));
  EXPECT_THAT(generate_fault({{"model", "m"}, {"prompt", "x"}, {"options", {{"mirostat", 1}}}}),
              HasSubstr("options.mirostat"));
  EXPECT_THAT(generate_fault({{"model", "m"}, {"prompt", "x"}, {"options", {{"top_k", "x"}}}}),
              HasSubstr("options.top_k: expected a whole number"));
  EXPECT_THAT(generate_fault({{"model", "m"}, {"prompt", "x"}, {"options", json::array()}}),
              HasSubstr("options: expected an object"));
  EXPECT_THAT(chat_fault({{"model", "m"}, {"messages", {{{"role", "tool"}, {"content", "x"}}}}}),
              HasSubstr("no tools"));
  EXPECT_THAT(chat_fault({{"model", "m"}, {"messages", {{{"role", "user"}}}}}),
              HasSubstr("only white space"));
  EXPECT_THAT(chat_fault({{"model", "m"}, {"messages", "x"}}),
              HasSubstr("expected a list of messages"));
}

const AnswerHead kHead{"", "m", 951782400, 5};  // 29 February 2000

TEST(Ollama, AnswersInLines) {
  const std::string head = R"({"model":"m","created_at":"2000-02-29T00:00:00.000000005Z",)";
  EXPECT_EQ(ollama_line(OllamaRoute::generate, kHead, {0, "a", {}}),
            head + "\"response\":\"a\",\"done\":false}\n");
  EXPECT_EQ(ollama_line(OllamaRoute::chat, kHead, {0, "a", {}}),
            head + "\"message\":{\"role\":\"assistant\",\"content\":\"a\"},\"done\":false}\n");
  const CompletionResult result{{{"a cat", "length", {}}}, {10, 5, 3}, {4, 1, 2, 3}};
  const std::string counts =
      R"("done":true,"done_reason":"length","total_duration":4,"load_duration":1,"prompt_eval_count":10,)"
      R"("prompt_eval_duration":2,"eval_count":5,"eval_duration":3})";
  EXPECT_EQ(ollama_last_line(OllamaRoute::generate, kHead, result),
            head + "\"response\":\"\"," + counts + "\n");
  EXPECT_EQ(ollama_answer(OllamaRoute::generate, kHead, {}, result),
            head + "\"response\":\"a cat\"," + counts);
  CompletionRequest load;
  load.load_only = true;
  EXPECT_EQ(ollama_answer(OllamaRoute::generate, kHead, load, {}),
            head + R"("response":"","done":true,"done_reason":"load"})");
}

TEST(Ollama, DescribesTheModel) {
  ModelCard card;
  card.name = "demo";
  card.architecture = "blip-2";
  card.language_family = "llama";
  card.parameters = 1'234'000'000;
  card.max_model_len = 2048;
  card.embedding_width = 256;
  const json tags = json::parse(ollama_tags(card))["models"][0];
  EXPECT_EQ(tags["details"]["parameter_size"], "1.2B");
  EXPECT_EQ(tags["details"]["families"], json({"blip-2", "llama"}));
  const json show = json::parse(ollama_show(card));
  EXPECT_EQ(show["capabilities"], json({"completion", "vision", "embedding"}));
  EXPECT_EQ(show["model_info"]["blip-2.context_length"], 2048);
  EXPECT_EQ(ollama_version("0.1.0"), R"({"version":"0.1.0"})");
  EXPECT_EQ(json::parse(ollama_running(card))["models"][0]["expires_at"],
            "9999-12-31T23:59:59.000000000Z");
}

}  // namespace
}  // namespace blip2
