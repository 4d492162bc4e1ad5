#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "blip2/http/server.h"
#include "blip2/protocols/limits.h"
#include "blip2/protocols/models.h"
#include "blip2/service/prompting.h"
#include "blip2/serving/engine.h"

namespace blip2 {

struct ServiceOptions {
  RequestLimits limits;  // models: the names that are answered for, the first one is shown
  PromptRules prompts;
  std::size_t readers = 2;           // threads that read requests' JSON and pictures' headers
  std::size_t fetchers = 4;          // threads that fetch remote pictures
  std::size_t most_unread = 256;     // requests that wait to be read, and to be fetched, each
  std::string page, page_policy;     // the page at "/" and its Content-Security-Policy
  std::string version;               // of the program
  std::function<HttpCounts()> http;  // for /metrics
};

// Answers the HTTP requests of the protocols with an engine. Until open() it answers /health with
// 503 and the share of the model that is loaded, and everything else but the page with 503. Any
// thread may call its functions at once.
class Service {
 public:
  explicit Service(ServiceOptions options);
  ~Service();
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  // An HttpHandler: returns at once.
  void handle(HttpRequest request, std::shared_ptr<HttpReply> reply);

  void loading(double share);
  // From now on requests are answered; call it once. The card's numbers that the engine knows are
  // taken from it.
  void open(std::unique_ptr<Engine> engine, ModelCard card);
  // New requests get 503; returns once those that run have ended, or the limit is over: false.
  bool drain(std::chrono::milliseconds limit);

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace blip2
