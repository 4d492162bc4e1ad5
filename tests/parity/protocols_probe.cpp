// Parses requests as the server's routes do, and writes answers of given content.
//
// Standard input holds requests, each a line "PATH<TAB>CONTENT-TYPE<TAB>BYTES" and then the body of
// that many bytes. For each the probe prints a line "STATUS MICROSECONDS BODY": 200 and what was
// read and would be answered, or the error's status and body; the time is the processor's. With an
// argument it fetches a picture; see fetch.
#include <fmt/format.h>

#include <chrono>
#include <ctime>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

#include "blip2/protocols/content_type.h"
#include "blip2/protocols/embeddings.h"
#include "blip2/protocols/ollama.h"
#include "blip2/protocols/openai_chat.h"
#include "blip2/protocols/picture_fetch.h"
#include "blip2/protocols/request_error.h"
#include "blip2/protocols/scores.h"
#include "blip2/protocols/tokens.h"

namespace blip2 {
namespace {

using nlohmann::json;

json part_of(const Part& part) {
  if (!part.picture) return part.text;
  return {{"bytes", part.picture->bytes.size()}, {"url", part.picture->url}};
}

json parts_of(const std::vector<Part>& parts) {
  json list = json::array();
  for (const Part& part : parts) list.push_back(part_of(part));
  return list;
}

json completion_of(const CompletionRequest& request) {
  json settings = json::object(), turns = json::array();
  request.settings.each([&](const char* name, const auto& value) {
    if (value) settings[name] = *value;
  });
  for (const Turn& turn : request.turns) turns.push_back({turn.role, parts_of(turn.parts)});
  return {{"model", request.model},
          {"turns", turns},
          {"settings", settings},
          {"stop", request.stop},
          {"n", request.n},
          {"stream", request.stream},
          {"logprobs", request.logprobs},
          {"include_usage", request.include_usage}};
}

const AnswerHead kHead{"id-1", "demo", 1'796'000'000, 5};
const Usage kUsage{10, 5, 3};

// The answer to a completion whose choices say "a cat".
CompletionResult sample_result(const CompletionRequest& request) {
  CompletionResult result{{}, kUsage, {4000, 1000, 2000, 1000}};
  Choice choice{"a cat", "length", {}};
  if (request.logprobs)
    choice.tokens = {{"a", -0.25, {{"a", -0.25}, {"the", -1.5}}}, {" cat", -0.5, {}}};
  result.choices.assign(static_cast<std::size_t>(request.n), choice);
  return result;
}

// The stream's events or lines.
std::string openai_stream(const CompletionRequest& request) {
  const Choice choice = sample_result(request).choices[0];
  std::string out = server_sent(openai_first_chunk(kHead, request, 0));
  out += server_sent(openai_chunk(kHead, request, {0, choice.text, choice.tokens}));
  out += server_sent(openai_last_chunk(kHead, request, 0, choice.finish_reason));
  if (request.include_usage) out += server_sent(openai_usage_chunk(kHead, kUsage));
  return out.append(kServerSentEnd);
}

std::string ollama_stream(OllamaRoute route, const CompletionRequest& request) {
  const CompletionResult result = sample_result(request);
  return ollama_line(route, kHead, {0, result.choices[0].text, result.choices[0].tokens}) +
         ollama_last_line(route, kHead, result);
}

std::string openai_answer(const CompletionRequest& request) {
  return request.stream ? openai_stream(request)
                        : openai_completion(kHead, request, sample_result(request));
}

std::string ollama_text(OllamaRoute route, const CompletionRequest& request) {
  return request.stream && !request.load_only
             ? ollama_stream(route, request)
             : ollama_answer(route, kHead, request, sample_result(request));
}

// Scores that fall from the first pair to the last.
std::vector<PairScore> falling(std::size_t count) {
  std::vector<PairScore> scores(count);
  for (std::size_t i = 0; i < count; ++i) scores[i].itm = 1.0f / static_cast<float>(i + 2);
  return scores;
}

RequestLimits limits_of_probe() {
  RequestLimits limits;
  limits.pictures.most = 2;
  return limits;
}

ModelCard sample_card() {
  ModelCard card;
  card.name = "demo";
  card.created = kHead.created;
  card.architecture = "blip-2";
  card.language_family = "llama";
  card.quantization = "bf16";
  card.parameters = 200'000'000;
  card.bytes = 400'000'000;
  card.max_model_len = 2048;
  card.image_size = 224;
  card.embedding_width = 256;
  return card;
}

struct Reading {
  json request;        // what was read
  std::string answer;  // the body that the server would send
};

Reading read_completion(const CompletionRequest& request, std::string answer) {
  return {completion_of(request), std::move(answer)};
}

Reading read_embeddings(const std::string& body, const RequestLimits& limits) {
  const EmbeddingsRequest request = parse_embeddings(body, limits);
  const std::vector<std::vector<float>> vectors(request.inputs.size(), {0.1f, -0.25f, 3e-8f});
  return {{{"inputs", parts_of(request.inputs)}},
          embeddings_answer(kHead, request, vectors, kUsage)};
}

Reading read_rerank(const std::string& body, const RequestLimits& limits) {
  const RerankRequest request = parse_rerank(body, limits);
  return {{{"query", part_of(request.query)}, {"documents", parts_of(request.documents)}},
          rerank_answer(kHead, request, falling(request.documents.size()), kUsage)};
}

Reading read_score(const std::string& body, const RequestLimits& limits) {
  const ScoreRequest request = parse_score(body, limits);
  return {{{"first", parts_of(request.first)}, {"second", parts_of(request.second)}},
          score_answer(kHead, request, falling(request.pairs()), kUsage)};
}

Reading read_tokenize(const std::string& body, const RequestLimits& limits) {
  const TokenizeRequest request = parse_tokenize(body, limits);
  const std::vector<std::int32_t> ids = {5, 6};
  const std::vector<std::string> pieces = {"a", " cat"};
  return {{{"text", request.text}}, tokenize_answer(request, ids, pieces, 2048)};
}

Reading read(const std::string& path, const std::string& body) {
  const RequestLimits limits = limits_of_probe();
  if (path == "/v1/chat/completions") {
    const CompletionRequest request = parse_openai_chat(body, limits);
    return read_completion(request, openai_answer(request));
  }
  if (path == "/api/generate") {
    const CompletionRequest request = parse_ollama_generate(body, limits);
    return read_completion(request, ollama_text(OllamaRoute::generate, request));
  }
  if (path == "/api/chat") {
    const CompletionRequest request = parse_ollama_chat(body, limits);
    return read_completion(request, ollama_text(OllamaRoute::chat, request));
  }
  if (path == "/v1/embeddings") return read_embeddings(body, limits);
  if (path == "/v1/rerank") return read_rerank(body, limits);
  if (path == "/v1/score") return read_score(body, limits);
  if (path == "/tokenize") return read_tokenize(body, limits);
  if (path == "/detokenize")
    return {parse_detokenize(body, limits, 50'000), detokenize_answer("a cat")};
  if (path == "/api/show") return {parse_ollama_show(body, limits), ollama_show(sample_card())};
  if (path == "/v1/models") return {nullptr, openai_models(sample_card(), limits)};
  if (path == "/api/tags") return {nullptr, ollama_tags(sample_card())};
  if (path == "/api/ps") return {nullptr, ollama_running(sample_card())};
  throw RequestError(404, "not_found", "", "no such route");
}

// Microseconds that this thread has computed.
std::int64_t processor_time() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return std::int64_t{time.tv_sec} * 1'000'000 + time.tv_nsec / 1000;
}

void answer(const std::string& path, const std::string& type, const std::string& body) {
  const bool ollama = path.starts_with("/api/");
  const std::int64_t start = processor_time();
  int status = 200;
  json out;
  try {
    check_content_type(type, ollama ? ContentTypeRule::any_text : ContentTypeRule::json);
    const Reading reading = read(path, body);
    out = {{"request", reading.request}, {"answer", reading.answer}};
  } catch (const RequestError& error) {
    status = error.status();
    out = json::parse(ollama ? ollama_error(error) : openai_error(error));
  }
  const std::int64_t spent = processor_time() - start;
  std::cout << fmt::format("{} {} {}\n", status, spent,
                           out.dump(-1, ' ', true, json::error_handler_t::replace))
            << std::flush;
}

void answer_all() {
  for (std::string path, type, size, body; std::getline(std::cin, path, '\t');) {
    std::getline(std::cin, type, '\t');
    std::getline(std::cin, size);
    body.resize(std::stoull(size));
    std::cin.read(body.data(), static_cast<std::streamsize>(body.size()));
    answer(path, type, body);
  }
}

// The options are one JSON object: url, hosts, max_bytes, addresses, port, authority, limit_ms,
// cancel_after_ms. Prints "STATUS MESSAGE" or "200 BYTES".
void fetch(const json& options) {
  using Clock = std::chrono::steady_clock;
  PictureRules rules;
  rules.hosts = options.at("hosts");
  rules.max_bytes = options.value("max_bytes", rules.max_bytes);
  FetchOptions how;
  how.test_addresses = options.value("addresses", std::vector<std::string>{});
  how.test_port = options.value("port", 0);
  how.test_authority = options.value("authority", "");
  how.limit = how.connect_limit = std::chrono::milliseconds(options.value("limit_ms", 60'000));
  const auto end =
      Clock::now() + std::chrono::milliseconds(options.value("cancel_after_ms", 600'000));
  how.cancelled = [end] { return Clock::now() > end; };
  PictureSource picture{{}, options.at("url"), "url"};
  try {
    fetch_picture(picture, rules, how);
    std::cout << "200 " << picture.bytes.size() << "\n";
  } catch (const RequestError& error) {
    std::cout << error.status() << " " << error.what() << "\n";
  }
}

}  // namespace
}  // namespace blip2

int main(int argc, char** argv) {
  if (argc > 1) {
    blip2::fetch(nlohmann::json::parse(argv[1]));
  } else {
    blip2::answer_all();
  }
}
