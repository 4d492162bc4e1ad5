// Embeddings, rankings, scores, tokens, models, kinds of content.

#include "blip2/protocols/content_type.h"
#include "blip2/protocols/embeddings.h"
#include "blip2/protocols/models.h"
#include "blip2/protocols/requests_test.h"
#include "blip2/protocols/scores.h"
#include "blip2/protocols/tokens.h"

namespace blip2 {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

json picture_part() {
  return {{"type", "image_url"}, {"image_url", {{"url", small_uri()}}}};
}
json text_part(const char* text) {
  return {{"type", "text"}, {"text", text}};
}

EmbeddingsRequest embeddings(const json& request) {
  return parse_embeddings(request.dump(), {}, 256);
}
std::string embeddings_fault(const json& request) {
  return refusal([&] { embeddings(request); });
}

TEST(Embeddings, TakeBothShapes) {
  EXPECT_EQ(embeddings({{"input", "a"}}).inputs[0].text, "a");
  EXPECT_EQ(embeddings({{"input", {"a", "b"}}}).inputs[1].text, "b");
  const auto mixed = embeddings({{"input",
                                  {{{"content", {picture_part()}}},
                                   {{"content", {text_part("a"), text_part("b")}}},
                                   picture_part(),
                                   small_uri()}},
                                 {"encoding_format", "base64"},
                                 {"dimensions", 256}});
  ASSERT_EQ(mixed.inputs.size(), 4u);
  EXPECT_EQ(mixed.inputs[0].picture->bytes, small_png());
  EXPECT_EQ(mixed.inputs[1].text, "a\nb");
  EXPECT_EQ(mixed.inputs[2].picture->bytes, small_png());
  EXPECT_EQ(mixed.inputs[3].picture->bytes, small_png());
  EXPECT_EQ(mixed.format, EncodingFormat::base64);
  EXPECT_EQ(embeddings({{"input", {{"content", {text_part("a"), text_part("b")}}}}}).inputs.size(),
            1u);
  const json message = {{"role", "user"}, {"content", {picture_part()}}};
  EXPECT_TRUE(embeddings({{"messages", {message}}}).inputs[0].picture.has_value());
}

TEST(Embeddings, RefuseBadRequests) {
  EXPECT_THAT(embeddings_fault(json::object()),
              HasSubstr("input: expected a string or a list, got nothing"));
  EXPECT_THAT(embeddings_fault({{"input", json::array()}}), HasSubstr("at least one entry"));
  EXPECT_THAT(embeddings_fault({{"input", ""}}), HasSubstr("the text is empty"));
  EXPECT_THAT(embeddings_fault({{"input", {1, 2}}}),
              HasSubstr("input[0]: token ids are not supported"));
  EXPECT_THAT(embeddings_fault({{"input", json::array({json::array({1})})}}),
              HasSubstr("expected an object, got a list"));
  EXPECT_THAT(embeddings_fault({{"input", {{{"content", {picture_part(), text_part("a")}}}}}}),
              HasSubstr("got both"));
  EXPECT_THAT(embeddings_fault({{"input", {{{"content", {picture_part(), picture_part()}}}}}}),
              HasSubstr("several pictures"));
  EXPECT_THAT(embeddings_fault({{"input", "a"}, {"encoding_format", "int8"}}),
              HasSubstr("expected float or base64"));
  EXPECT_THAT(embeddings_fault({{"input", "a"}, {"dimensions", 64}}),
              HasSubstr("vectors have 256 numbers"));
  EXPECT_THAT(embeddings_fault({{"input", "a"}, {"messages", json::array()}}),
              HasSubstr("got both"));
  EXPECT_THAT(embeddings_fault({{"input", json(std::vector<std::string>(2049, "a"))}}),
              HasSubstr("at most 2048"));
}

TEST(Embeddings, AnswerInNumbersAndBase64) {
  const std::vector<std::vector<float>> vectors = {{0.1f, -1}, {0.5f}};
  EmbeddingsRequest request;
  EXPECT_EQ(embeddings_answer({"", "a\"b", 0, 0}, request, vectors, {3, 0, 0}),
            R"({"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.1,-1]},)"
            R"({"object":"embedding","index":1,"embedding":[0.5]}],"model":"a\"b",)"
            R"("usage":{"prompt_tokens":3,"total_tokens":3}})");
  request.format = EncodingFormat::base64;
  const json answer = json::parse(embeddings_answer({}, request, vectors, {}));
  EXPECT_EQ(answer["data"][1]["embedding"], "AAAAPw==");  // 0x3f000000
}

RerankRequest rerank(const json& request) {
  return parse_rerank(request.dump(), {});
}
std::string rerank_fault(const json& request) {
  return refusal([&] { rerank(request); });
}

TEST(Rerank, TakesTextsForAPictureAndPicturesForAText) {
  const auto texts = rerank(
      {{"query", {{"image", small_uri()}}}, {"documents", {"a", {{"text", "b"}}}}, {"top_n", 9}});
  EXPECT_TRUE(texts.query.picture.has_value());
  EXPECT_EQ(texts.documents[1].text, "b");
  EXPECT_EQ(texts.top_n, 2u);
  const auto pictures = rerank({{"query", "a"},
                                {"documents", {{"content", {picture_part(), picture_part()}}}},
                                {"score_by", "itc"}});
  EXPECT_EQ(pictures.documents.size(), 2u);
  EXPECT_EQ(pictures.by, ScoreBy::itc);
}

TEST(Rerank, RefusesBadRequests) {
  EXPECT_THAT(rerank_fault({{"query", "a"}}), HasSubstr("documents: expected a list, got nothing"));
  EXPECT_THAT(rerank_fault({{"query", "a"}, {"documents", json::array()}}),
              HasSubstr("at least one entry"));
  EXPECT_THAT(
      rerank_fault({{"query", "a"}, {"documents", {"b"}}}),
      HasSubstr(
          "400 unsupported_content documents[0] | documents[0]: expected a picture and a text"));
  const json picture = {{"image", small_uri()}};
  EXPECT_THAT(rerank_fault({{"query", picture}, {"documents", {"b", picture}}}),
              HasSubstr("documents[1]: expected"));
  EXPECT_THAT(rerank_fault({{"query", picture}, {"documents", {"b"}}, {"top_n", 0}}),
              HasSubstr("top_n"));
  EXPECT_THAT(rerank_fault({{"query", picture}, {"documents", {"b"}}, {"score_by", "x"}}),
              HasSubstr("itm or itc"));
  EXPECT_THAT(rerank_fault({{"query", picture}, {"documents", {{{"txt", "b"}}}}}),
              HasSubstr("did you mean 'text'?"));
}

TEST(Rerank, SortsTheBestFirst) {
  RerankRequest request;
  request.documents = {{"a", {}}, {"b", {}}, {"c", {}}};
  request.top_n = 2;
  const std::vector<PairScore> scores = {{0.25f, 0.9f}, {0.5f, 0.1f}, {0.5f, 0.2f}};
  const json answer =
      json::parse(rerank_answer({"rerank-1", "m", 0, 0}, request, scores, {7, 0, 0}));
  EXPECT_EQ(answer["results"],
            json::parse(R"([{"index":1,"relevance_score":0.5,"document":{"text":"b"}},
                                               {"index":2,"relevance_score":0.5,"document":{"text":"c"}}])"));
  EXPECT_EQ(answer["usage"]["total_tokens"], 7);
}

ScoreRequest score(const json& request) {
  return parse_score(request.dump(), {});
}
std::string score_fault(const json& request) {
  return refusal([&] { score(request); });
}

TEST(Score, PairsLists) {
  const ScoreRequest one =
      score({{"text_1", {{"content", {picture_part()}}}}, {"text_2", {"a", "b"}}});
  EXPECT_EQ(one.pairs(), 2u);
  EXPECT_TRUE(one.left(1).picture.has_value());
  EXPECT_EQ(one.right(1).text, "b");
  const ScoreRequest same =
      score({{"queries", {"a", "b"}}, {"documents", {small_uri(), picture_part()}}});
  EXPECT_EQ(same.pairs(), 2u);
  EXPECT_EQ(same.left(1).text, "b");
  EXPECT_THAT(score_fault({{"text_1", "a"}}), HasSubstr("expected text_1 and text_2"));
  EXPECT_THAT(score_fault({{"text_1", "a"}, {"text_2", "b"}}), HasSubstr("two texts"));
  EXPECT_THAT(score_fault({{"text_1", {"a", "b"}},
                           {"text_2", json(std::vector<std::string>(3, small_uri()))}}),
              HasSubstr("expected 1 entry or as many as text_1 (2), got 3"));
  const json answer = json::parse(
      score_answer({"s", "m", 5, 0}, one, std::vector<PairScore>{{0.5f, 1}, {0.25f, -0.5f}}, {}));
  EXPECT_EQ(answer["data"][1],
            json::parse(R"({"index":1,"object":"score","score":0.25,"itc":-0.5,"itm":0.25})"));
}

TEST(Tokens, TakeBothShapes) {
  const TokenizeRequest vllm = parse_tokenize(R"({"prompt":"a","return_token_strs":true})", {});
  EXPECT_TRUE(vllm.add_special_tokens && vllm.with_pieces && !vllm.of_llama_cpp);
  const TokenizeRequest llama =
      parse_tokenize(R"({"content":"a","with_pieces":true,"parse_special":false})", {});
  EXPECT_TRUE(!llama.add_special_tokens && llama.with_pieces && llama.of_llama_cpp &&
              !llama.parse_special);
  const std::vector<std::int32_t> ids = {5, 6};
  const std::vector<std::string> pieces = {"a", "\xc3"};
  EXPECT_EQ(tokenize_answer(vllm, ids, pieces, 99),
            "{\"count\":2,\"max_model_len\":99,\"tokens\":[5,6],\"token_strs\":[\"a\","
            "\"\xef\xbf\xbd\"]}");
  EXPECT_EQ(
      tokenize_answer(llama, ids, pieces, 99),
      R"({"count":2,"max_model_len":99,"tokens":[{"id":5,"piece":"a"},{"id":6,"piece":[195]}]})");
  EXPECT_THAT(parse_detokenize(R"({"tokens":[0,9]})", {}, 10), ElementsAre(0, 9));
  EXPECT_EQ(detokenize_answer("a"), R"({"prompt":"a","content":"a"})");
}

TEST(Tokens, RefuseBadRequests) {
  const auto detokenize = [](const char* body) {
    return refusal([&] { parse_detokenize(body, {}, 10); });
  };
  EXPECT_THAT(detokenize(R"({"tokens":[10]})"),
              HasSubstr("tokens[0]: expected a whole number from 0 to 9, got 10"));
  EXPECT_THAT(detokenize(R"({"tokens":[-1]})"), HasSubstr("got -1"));
  EXPECT_THAT(detokenize(R"({"tokens":["a"]})"), HasSubstr("tokens[0]: expected a whole number"));
  EXPECT_THAT(detokenize(R"({"tokens":"a"})"), HasSubstr("expected a list of token ids"));
  const auto tokenize = [](const char* body) { return refusal([&] { parse_tokenize(body, {}); }); };
  EXPECT_THAT(tokenize("{}"), HasSubstr("prompt: expected a string, got nothing"));
  EXPECT_THAT(tokenize(R"({"content":"a","prompt":"b"})"), HasSubstr("prompt: unknown parameter"));
}

TEST(Models, TellModalitiesAndLimits) {
  ModelCard card;
  card.name = "demo";
  RequestLimits limits;
  json entry = json::parse(openai_models(card, limits))["data"][0];
  EXPECT_EQ(entry["architecture"]["input_modalities"], json({"text", "image"}));
  EXPECT_EQ(entry["architecture"]["output_modalities"], json::array({"text"}));
  EXPECT_EQ(entry["capabilities"], json::array({"completion"}));
  EXPECT_EQ(entry["limits"]["max_images"], 1);
  EXPECT_EQ(entry["limits"]["max_tokens"], 2048);
  limits.pictures.accepted = false;
  entry = json::parse(openai_model(card, limits));
  EXPECT_EQ(entry["architecture"]["input_modalities"], json::array({"text"}));
  EXPECT_EQ(entry["limits"]["max_images"], 0);
}

TEST(Models, TellOfOneThatOnlyCompares) {
  ModelCard card;
  card.generates = false;
  card.embedding_width = 256;
  const json entry = json::parse(openai_model(card, {}));
  EXPECT_EQ(entry["architecture"]["output_modalities"], json::array({"embeddings"}));
  EXPECT_EQ(entry["capabilities"], json::array({"embedding", "score"}));
  EXPECT_EQ(entry["max_model_len"], nullptr);
  EXPECT_EQ(entry["limits"]["max_images"], 64);
  EXPECT_FALSE(entry["limits"].contains("max_tokens"));
}

TEST(ContentType, IsJson) {
  for (const char* type : {"", "application/json", "Application/JSON; charset=UTF-8",
                           "application/vnd.api+json", "application/json;charset=\"utf-8\"; x=y"}) {
    EXPECT_NO_THROW(check_content_type(type, ContentTypeRule::json)) << type;
  }
  const char* curl = "application/x-www-form-urlencoded";
  EXPECT_NO_THROW(check_content_type(curl, ContentTypeRule::any_text));
  for (const char* type : {curl, "text/plain", "multipart/form-data; boundary=x",
                           "application/json; charset=utf-16", "application/jsonx", "image/png"}) {
    EXPECT_THAT(refusal([&] { check_content_type(type, ContentTypeRule::json); }),
                HasSubstr("415 unsupported_media_type"));
  }
  EXPECT_THAT(refusal([] { check_content_type("multipart/form-data", ContentTypeRule::any_text); }),
              HasSubstr("415"));
}

}  // namespace
}  // namespace blip2
