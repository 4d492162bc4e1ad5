#include "blip2/protocols/openai_chat.h"

#include "blip2/protocols/requests_test.h"

namespace blip2 {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::StartsWith;

json small_request() {
  return {{"model", "m"}, {"messages", {{{"role", "user"}, {"content", "What is it?"}}}}};
}

CompletionRequest parsed(const json& request, const RequestLimits& limits = {}) {
  return parse_openai_chat(request.dump(), limits);
}

std::string fault(const json& request, const RequestLimits& limits = {}) {
  return refusal([&] { parsed(request, limits); });
}

std::string fault_of_text(const std::string& body, const RequestLimits& limits = {}) {
  return refusal([&] { parse_openai_chat(body, limits); });
}

// The fault of a small request with one member more.
std::string fault_with(const char* key, const json& value) {
  json request = small_request();
  request[key] = value;
  return fault(request);
}

CompletionRequest parsed_with(const json& more) {
  json request = small_request();
  request.update(more);
  return parsed(request);
}

json with_part(const json& part) {
  json request = small_request();
  request["messages"][0]["content"] = json::array({part});
  return request;
}

TEST(OpenAiChat, ReadsTurnsTextsAndPictures) {
  const json url = {{"type", "image_url"},
                    {"image_url", {{"url", small_uri()}, {"detail", "low"}}}};
  const json bare = {{"type", "image_url"}, {"image_url", encode_base64(small_png())}};
  const json text = {{"type", "text"}, {"text", "And this?"}};
  const json request = {{"messages",
                         {{{"role", "developer"}, {"content", "Be brief."}},
                          {{"role", "user"}, {"content", {url, text}}},
                          {{"role", "assistant"}, {"content", "A cat."}, {"refusal", nullptr}},
                          {{"role", "user"}, {"content", {text, bare}}, {"name", "Ann"}}}}};
  RequestLimits limits;
  limits.pictures.most = 2;
  limits.models = {"ours"};
  const CompletionRequest r = parsed(request, limits);
  EXPECT_EQ(r.model, "ours");
  ASSERT_EQ(r.turns.size(), 4u);
  EXPECT_EQ(r.turns[0].role, "system");
  ASSERT_EQ(r.turns[1].parts.size(), 2u);
  EXPECT_EQ(r.turns[1].parts[0].picture->bytes, small_png());
  EXPECT_EQ(r.turns[1].parts[0].picture->param, "messages[1].content[0].image_url.url");
  EXPECT_EQ(r.turns[1].parts[1].text, "And this?");
  EXPECT_EQ(r.turns[2].role, "assistant");
  EXPECT_EQ(r.turns[3].parts[1].picture->bytes, small_png());
  EXPECT_FALSE(r.stream || r.logprobs || r.load_only);
  EXPECT_EQ(r.n, 1);
}

TEST(OpenAiChat, ReadsSettings) {
  const CompletionRequest r = parsed_with({{"max_tokens", 7},
                                           {"min_tokens", 2},
                                           {"temperature", 0.5},
                                           {"top_p", 0.9},
                                           {"top_k", -1},
                                           {"seed", 9223372036854775807},
                                           {"n", 3},
                                           {"stop", {"a", "b"}},
                                           {"presence_penalty", -2},
                                           {"frequency_penalty", 2.0},
                                           {"logprobs", true},
                                           {"top_logprobs", 5},
                                           {"stream", true},
                                           {"stream_options", {{"include_usage", true}}},
                                           {"repetition_penalty", 1.5},
                                           {"no_repeat_ngram_size", 3},
                                           {"length_penalty", -1}});
  EXPECT_EQ(r.settings.max_new_tokens, 7);
  EXPECT_EQ(r.settings.min_new_tokens, 2);
  EXPECT_EQ(r.settings.temperature, 0.5);
  EXPECT_EQ(r.settings.top_p, 0.9);
  EXPECT_EQ(r.settings.top_k, 0);
  EXPECT_EQ(r.settings.seed, 9223372036854775807u);
  EXPECT_EQ(r.settings.sample, true);
  EXPECT_EQ(r.settings.repetition_penalty, 1.5);
  EXPECT_EQ(r.settings.no_repeat_ngram_size, 3);
  EXPECT_EQ(r.settings.length_penalty, -1);
  EXPECT_EQ(r.n, 3);
  EXPECT_THAT(r.stop, testing::ElementsAre("a", "b"));
  EXPECT_EQ(r.presence_penalty, -2);
  EXPECT_EQ(r.frequency_penalty, 2);
  EXPECT_TRUE(r.logprobs && r.stream && r.include_usage);
  EXPECT_EQ(r.top_logprobs, 5);
}

TEST(OpenAiChat, DecidesWhetherTokensAreDrawn) {
  const auto sample = [](const json& more) { return parsed_with(more).settings.sample; };
  EXPECT_EQ(sample(json::object()), std::nullopt);
  EXPECT_EQ(sample({{"temperature", 0}}), false);
  EXPECT_EQ(sample({{"temperature", 1e-6}, {"top_p", 0.5}}), false);
  EXPECT_EQ(sample({{"top_p", 1}}), std::nullopt);
  EXPECT_EQ(sample({{"top_p", 0.5}}), true);
  EXPECT_EQ(sample({{"top_p", 0}}), false);
  EXPECT_EQ(sample({{"top_k", 1}, {"temperature", 1}}), false);
  EXPECT_EQ(sample({{"temperature", 1}}), true);
  EXPECT_EQ(sample({{"n", 2}}), true);
  EXPECT_EQ(sample({{"n", 2}, {"num_beams", 2}}), std::nullopt);
  EXPECT_EQ(parsed_with({{"temperature", 0}, {"top_p", 0.3}}).settings.top_p, std::nullopt);
  EXPECT_EQ(parsed_with({{"beams", 3}}).settings.beams, 3);
  EXPECT_THAT(fault_with("temperature", -0.1),
              HasSubstr("temperature: expected a number from 0 to 2, got -0.1"));
  json greedy = small_request();
  greedy.update({{"temperature", 0}, {"n", 2}});
  EXPECT_THAT(fault(greedy), HasSubstr("400 invalid_value n | n: without sampling"));
  greedy.update({{"n", 3}, {"num_beams", 2}});
  EXPECT_THAT(fault(greedy), HasSubstr("n: expected at most as many as beams (2), got 3"));
}

TEST(OpenAiChat, NewerNameOfMaxTokensCounts) {
  const CompletionRequest r = parsed_with({{"max_tokens", 7}, {"max_completion_tokens", 9.0}});
  EXPECT_EQ(r.settings.max_new_tokens, 9);
}

TEST(OpenAiChat, RefusesNumbersOutOfRange) {
  const json cases[] = {-1, 0, 2147483648, 1e30, 1.5, "7", true, json::array({7}), json::object()};
  for (const json& value : cases) {
    EXPECT_THAT(fault_with("max_tokens", value), StartsWith("400 invalid_")) << value;
    EXPECT_THAT(fault_with("max_tokens", value),
                HasSubstr(" max_tokens | max_tokens: expected a whole number"));
    EXPECT_THAT(fault_with("n", value), HasSubstr(" n | n: expected a whole number"));
  }
  EXPECT_THAT(fault_with("seed", -1),
              HasSubstr("seed: expected a whole number from 0 to 9223372036854775807"));
  EXPECT_THAT(fault_with("seed", 18446744073709551615u), HasSubstr("got 18446744073709551615"));
  EXPECT_THAT(fault_with("top_k", -2), HasSubstr("from -1 to 2147483647"));
  EXPECT_THAT(fault_with("presence_penalty", 2.01), HasSubstr("from -2 to 2"));
  EXPECT_THAT(fault_with("repetition_penalty", 0), HasSubstr("from 0.01 to 10"));
  EXPECT_THAT(fault_with("top_logprobs", 1), HasSubstr("needs logprobs"));
  EXPECT_THAT(fault_with("logprobs", 1), HasSubstr("expected true or false, got 1"));
  EXPECT_THAT(fault_with("stop", json::array({"a", "b", "c", "d", "e"})),
              HasSubstr("at most 4 strings, got 5"));
  EXPECT_THAT(fault_with("stop", json::array({""})), HasSubstr("1 to 256 bytes"));
  EXPECT_THAT(fault_with("stop", json::array({1})), HasSubstr("expected a string, got 1"));
}

TEST(OpenAiChat, RefusesWhatIsNoJson) {
  const char* cases[] = {"",
                         "{",
                         "nul",
                         "{\"a\":NaN}",
                         "{\"a\":Infinity}",
                         "{\"a\":1e999}",
                         "{\"a\":-1e999}",
                         "{'a':1}",
                         "{\"a\":1,}",
                         "{\"a\":1}x",
                         "{\"a\":\"\\ud800\"}",
                         "{\"a\":\"\xff\"}",
                         "{\"a\":\"\xc0\xaf\"}",
                         "{\"a\":\"\n\"}",
                         "{\"a\":1,\"a\":2}",
                         "{\"a\":01}",
                         "\xff\xfe{\0"};
  for (const char* body : cases) {
    EXPECT_THAT(fault_of_text(body), StartsWith("400 invalid_json  | the request's body: "))
        << body;
  }
  for (const char* body : {"null", "[]", "\"text\"", "3", "true"}) {
    EXPECT_THAT(fault_of_text(body), HasSubstr("expected a JSON object, got "));
  }
}

TEST(OpenAiChat, BoundsTheJson) {
  EXPECT_THAT(fault_of_text(std::string(1 << 20, '[')), HasSubstr("nested deeper than 32 levels"));
  EXPECT_THAT(fault_of_text("{\"messages\":[" + std::string(400'001, '1') + "]}"),
              StartsWith("400 "));
  std::string many = "[0";
  for (int i = 0; i < 300'000; ++i) many += ",0";
  EXPECT_THAT(fault_of_text(many + "]"), HasSubstr("at most 200000 JSON values"));
  RequestLimits limits;
  limits.max_body = 10;
  EXPECT_THAT(fault_of_text("{         }", limits), StartsWith("413 request_too_large"));
  limits = {};
  limits.max_text = 10;
  EXPECT_THAT(
      fault(small_request(), limits),
      HasSubstr("400 text_too_long messages[0].content | messages[0].content: the request's texts "
                "have more than 10 bytes"));
}

TEST(OpenAiChat, RefusesBadMessages) {
  EXPECT_THAT(fault({{"model", "m"}}),
              HasSubstr("400 missing_parameter messages | messages: expected a list"));
  EXPECT_THAT(fault_with("messages", json::array()), HasSubstr("at least one message"));
  EXPECT_THAT(fault_with("messages", "hello"),
              HasSubstr("expected a list of messages, got \"hello\""));
  EXPECT_THAT(fault_with("messages", {1}), HasSubstr("messages[0]: expected an object, got 1"));
  const auto message = [](const json& value) {
    return fault_with("messages", json::array({value}));
  };
  EXPECT_THAT(message({{"content", "x"}}),
              HasSubstr("messages[0].role: expected a string, got nothing"));
  EXPECT_THAT(message({{"role", "robot"}, {"content", "x"}}),
              HasSubstr("expected system, user or assistant"));
  EXPECT_THAT(message({{"role", "tool"}, {"content", "x"}}), HasSubstr("this server has no tools"));
  EXPECT_THAT(message({{"role", "user"}}),
              HasSubstr("messages[0].content: expected a string or a list"));
  EXPECT_THAT(message({{"role", "user"}, {"content", 3}}), HasSubstr("got 3"));
  EXPECT_THAT(message({{"role", "user"}, {"content", json::array()}}),
              HasSubstr("at least one part"));
  EXPECT_THAT(message({{"role", "user"}, {"content", " \n"}}), HasSubstr("got only white space"));
  EXPECT_THAT(message({{"role", "assistant"}, {"content", "x"}}),
              HasSubstr("the last message is the assistant's"));
  EXPECT_THAT(message({{"role", "user"}, {"content", "x"}, {"images", {"aaaa"}}}),
              HasSubstr("messages[0].images: this server does not support it"));
  EXPECT_THAT(message({{"role", "user"}, {"content", "x"}, {"tool_calls", {1}}}),
              HasSubstr("tool_calls"));
  const json part = {{"type", "image_url"}, {"image_url", {{"url", small_uri()}}}};
  EXPECT_THAT(message({{"role", "system"}, {"content", {part}}}),
              HasSubstr("may not have pictures"));
}

TEST(OpenAiChat, RefusesBadParts) {
  EXPECT_THAT(fault(with_part("text")), HasSubstr("messages[0].content[0]: expected an object"));
  EXPECT_THAT(fault(with_part({{"text", "x"}})),
              HasSubstr("content[0].type: expected a string, got nothing"));
  EXPECT_THAT(fault(with_part({{"type", "input_audio"}})),
              HasSubstr("expected text or image_url, got \"input_audio\""));
  EXPECT_THAT(fault(with_part({{"type", "text"}})),
              HasSubstr("content[0].text: expected a string"));
  EXPECT_THAT(fault(with_part({{"type", "image_url"}})),
              HasSubstr("content[0].image_url: expected an object"));
  EXPECT_THAT(fault(with_part({{"type", "text"}, {"text", "x"}, {"image_url", "x"}})),
              HasSubstr("unknown parameter"));
  EXPECT_THAT(fault(with_part({{"type", "image_url"}, {"image_url", {{"uri", "x"}}}})),
              HasSubstr("image_url.uri: unknown parameter; did you mean 'url'?"));
}

TEST(OpenAiChat, RefusesBadPictureUrls) {
  const auto url = [](const std::string& text) {
    return fault(with_part({{"type", "image_url"}, {"image_url", {{"url", text}}}}));
  };
  EXPECT_THAT(url(""), HasSubstr("400 invalid_image messages[0].content[0].image_url.url | "));
  EXPECT_THAT(url("data:image/png,abc"), HasSubstr("expected a data: URI in base64"));
  EXPECT_THAT(url("data:image/png;base64"), HasSubstr("no comma"));
  EXPECT_THAT(url("data:image/png;base64,a%20b"), HasSubstr("got '%' at character 2"));
  EXPECT_THAT(url("data:;base64,R0lGODlhAQABAIA="), HasSubstr("the GIF picture is damaged"));
  EXPECT_THAT(url("data:;base64,JVBERi0xLjc="), HasSubstr("got a PDF document"));
  EXPECT_THAT(url("https://example.org/a.png"), HasSubstr("fetches no pictures from other hosts"));
  EXPECT_THAT(url("http://169.254.169.254/latest"), HasSubstr("over plain http"));
  EXPECT_THAT(url("file:///etc/passwd"), HasSubstr("reads no pictures from its own files"));
  EXPECT_THAT(url("gopher://x"), HasSubstr("got a URL of gopher:;"));
  EXPECT_THAT(url("cat.png"), HasSubstr("got '.' at character 4"));
  RequestLimits limits;
  limits.pictures.hosts = {"example.org"};
  const json part = {{"type", "image_url"}, {"image_url", {{"url", "HTTPS://example.org/a.png"}}}};
  EXPECT_EQ(parsed(with_part(part), limits).turns[0].parts[0].picture->url,
            "HTTPS://example.org/a.png");
  const json odd = {{"type", "image_url"},
                    {"image_url", {{"url", "https://example.org/a\r\nX: y"}}}};
  EXPECT_THAT(fault(with_part(odd), limits), HasSubstr("white space or control characters"));
}

TEST(OpenAiChat, CountsPictures) {
  json request = with_part({{"type", "image_url"}, {"image_url", small_uri()}});
  request["messages"][0]["content"].push_back(request["messages"][0]["content"][0]);
  EXPECT_THAT(fault(request),
              HasSubstr("400 too_many_images messages[0].content[1].image_url | "
                        "messages[0].content[1].image_url: a request may have at most 1 picture"));
  RequestLimits blind;
  blind.pictures.accepted = false;
  EXPECT_THAT(fault(request, blind), HasSubstr("400 unsupported_image"));
}

TEST(OpenAiChat, PassesOverWhatChangesNothing) {
  EXPECT_EQ(fault(small_request()), "none");
  const json more = {{"user", "u"},
                     {"metadata", {{"a", "b"}}},
                     {"store", true},
                     {"tools", json::array()},
                     {"tool_choice", "auto"},
                     {"response_format", {{"type", "text"}}},
                     {"logit_bias", json::object()},
                     {"modalities", {"text"}},
                     {"audio", nullptr},
                     {"anything", nullptr}};
  json request = small_request();
  request.update(more);
  EXPECT_EQ(fault(request), "none");
}

TEST(OpenAiChat, RefusesWhatWouldChangeTheAnswer) {
  EXPECT_THAT(
      fault_with("tools", {{{"type", "function"}}}),
      HasSubstr("400 unsupported_parameter tools | tools: this server does not support it"));
  EXPECT_THAT(fault_with("response_format", {{"type", "json_schema"}}),
              HasSubstr("response_format"));
  EXPECT_THAT(fault_with("audio", json::object()), HasSubstr("audio"));
  EXPECT_THAT(fault_with("logit_bias", {{"50256", -100}}), HasSubstr("logit_bias"));
  EXPECT_THAT(fault_with("max_token", 3),
              HasSubstr("400 unknown_parameter max_token | max_token: unknown parameter; did you "
                        "mean 'max_tokens'?"));
  EXPECT_THAT(fault_with(std::string(100'000, 'x').c_str(), 3), HasSubstr("unknown parameter"));
}

TEST(OpenAiChat, KnowsItsModels) {
  RequestLimits limits;
  limits.models = {"ours", "other:latest"};
  json request = small_request();
  EXPECT_THAT(fault(request, limits),
              HasSubstr("404 model_not_found model | model 'm' not found; this server has 'ours'"));
  for (const char* name : {"ours", "ours:latest", "other"}) {
    request["model"] = name;
    EXPECT_EQ(parsed(request, limits).model, name);
  }
  request["model"] = "";
  EXPECT_THAT(fault(request), HasSubstr("400 invalid_value model"));
}

const AnswerHead kHead{"chatcmpl-1", "m", 17, 0};

TEST(OpenAiChat, AnswersWhole) {
  CompletionRequest request;
  request.logprobs = true;
  const TokenLogprob token{"\xc3", -0.5, {{"a", -1}}};
  const CompletionResult result{
      {{"a cat", "stop", {token}}, {"a \xff", "length", {}}}, {10, 5, 3}, {}};
  EXPECT_EQ(json::parse(openai_completion(kHead, request, result)), json::parse(R"({
    "id": "chatcmpl-1", "object": "chat.completion", "created": 17, "model": "m",
    "choices": [
      {"index": 0, "message": {"role": "assistant", "content": "a cat", "refusal": null}, "finish_reason": "stop",
       "logprobs": {"refusal": null, "content": [{"token": "\ufffd", "logprob": -0.5, "bytes": [195],
         "top_logprobs": [{"token": "a", "logprob": -1.0, "bytes": [97]}]}]}},
      {"index": 1, "message": {"role": "assistant", "content": "a \ufffd", "refusal": null},
       "finish_reason": "length", "logprobs": {"refusal": null, "content": []}}],
    "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15,
              "prompt_tokens_details": {"cached_tokens": 3}}})"));
}

TEST(OpenAiChat, AnswersInChunks) {
  CompletionRequest request;
  request.include_usage = true;
  const std::string head =
      R"({"id":"chatcmpl-1","object":"chat.completion.chunk","created":17,"model":"m",)";
  EXPECT_EQ(
      openai_first_chunk(kHead, request, 1),
      head + R"("choices":[{"index":1,"delta":{"role":"assistant","content":""},"logprobs":null,)"
             R"("finish_reason":null}],"usage":null})");
  request.include_usage = false;
  EXPECT_EQ(
      openai_chunk(kHead, request, {0, "é\n", {}}),
      head +
          R"("choices":[{"index":0,"delta":{"content":"é\n"},"logprobs":null,"finish_reason":null}]})");
  EXPECT_EQ(
      openai_last_chunk(kHead, request, 0, "length"),
      head + R"("choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"length"}]})");
  EXPECT_EQ(openai_usage_chunk(kHead, {2, 1, 0}),
            head +
                R"("choices":[],"usage":{"prompt_tokens":2,"completion_tokens":1,"total_tokens":3,)"
                R"("prompt_tokens_details":{"cached_tokens":0}}})");
  EXPECT_EQ(server_sent("{}"), "data: {}\n\n");
}

TEST(OpenAiChat, ErrorsHaveOpenAisForm) {
  const RequestError error(400, "invalid_value", "n", "n: no\xff");
  EXPECT_EQ(openai_error(error),
            "{\"error\":{\"message\":\"n: no\xef\xbf\xbd\",\"type\":\"invalid_request_error\","
            "\"param\":\"n\",\"code\":\"invalid_value\"}}");
  EXPECT_EQ(openai_error(RequestError(503, "", "", "busy")),
            R"({"error":{"message":"busy","type":"server_error","param":null,"code":null}})");
  EXPECT_EQ(ollama_error(error), "{\"error\":\"n: no\xef\xbf\xbd\"}");
}

}  // namespace
}  // namespace blip2
