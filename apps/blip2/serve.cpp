#include <chrono>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <mutex>
#include <thread>

#include "apps/blip2/serve_flags.h"
#include "apps/blip2/verbs.h"
#include "blip2/base/error.h"
#include "blip2/base/interrupt.h"
#include "blip2/base/log.h"
#include "blip2/model/config.h"
#include "web/page.h"

namespace blip2 {
namespace {

// Where --log-jsonl's lines go.
std::function<void(const std::string&)> open_log(const std::string& path) {
  if (path.empty()) return {};
  if (path == "-") return log_line;
  std::shared_ptr<std::FILE> file(std::fopen(path.c_str(), "a"), [](std::FILE* open) {
    if (open != nullptr) std::fclose(open);
  });
  if (!file) throw Error("cannot open for writing", path);
  std::setvbuf(file.get(), nullptr, _IOLBF, BUFSIZ);
  return [file](const std::string& line) { std::fprintf(file.get(), "%s\n", line.c_str()); };
}

std::int64_t bytes_of(const std::filesystem::path& folder) {
  std::int64_t bytes = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.is_regular_file()) bytes += static_cast<std::int64_t>(entry.file_size());
  }
  return bytes;
}

ModelCard card_of(const ServeOptions& options) {
  const std::filesystem::path config = std::filesystem::path(options.run.model) / "config.json";
  ModelCard card;
  card.name = options.model_name;
  card.created = std::chrono::duration_cast<std::chrono::seconds>(
                     std::chrono::file_clock::to_sys(std::filesystem::last_write_time(config))
                         .time_since_epoch())
                     .count();
  const Blip2Config read = read_blip2_config(config);
  card.architecture = read.layout == ModelLayout::instructblip ? "instructblip" : "blip-2";
  card.bytes = bytes_of(options.run.model);
  return card;
}

// The I/O threads of a server, which end with the object.
class RunningServer {
 public:
  explicit RunningServer(HttpServer& server) : server_(server), thread_([&] { server.run(); }) {}
  ~RunningServer() {
    server_.stop();
    thread_.join();
  }
  RunningServer(const RunningServer&) = delete;
  RunningServer& operator=(const RunningServer&) = delete;

 private:
  HttpServer& server_;
  std::thread thread_;
};

std::unique_ptr<Engine> load_engine(ServeOptions& options, Service& service) {
  apply_threads(options.run.threads);
  options.engine.progress = [&service](double share) { service.loading(share); };
  return std::make_unique<Engine>(options.run.model, options.engine);
}

// Both the server's connections and the engine's jobs get the time; what is left of it for the
// server is at least the writing of the last answers.
void drain(HttpServer& server, Service& service, double seconds) {
  log_line("stopping: requests that run may end");
  const std::chrono::duration<double> limit(seconds);
  const auto begin = std::chrono::steady_clock::now();
  service.drain(std::chrono::duration_cast<std::chrono::milliseconds>(limit));
  const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - begin;
  server.drain(std::max(1.0, seconds - spent.count()));
}

void serve(ServeOptions& options) {
  const ModelCard card = card_of(options);
  options.http.log = open_log(options.log_jsonl);
  options.http.open_paths.push_back(
      "/");  // the page, which has nothing of the model, asks for a key
  options.service.page = page();
  options.service.page_policy = page_policy();
  options.service.version = BLIP2_VERSION;
  HttpServer* counted = nullptr;
  options.service.http = [&counted] { return counted->counts(); };
  Service service(options.service);
  HttpServer server(options.http,
                    [&service](HttpRequest request, std::shared_ptr<HttpReply> reply) {
                      service.handle(std::move(request), std::move(reply));
                    });
  counted = &server;
  const RunningServer running(server);
  service.open(load_engine(options, service), card);
  for (const std::string& address : server.addresses()) log_line("listening on " + address);
  while (!interrupted()) std::this_thread::sleep_for(std::chrono::milliseconds(50));
  drain(server, service, options.drain_timeout);
}

}  // namespace

void add_serve(CLI::App& app) {
  auto* verb = app.add_subcommand("serve", "Answer over HTTP, with a page");
  auto options = std::make_shared<ServeOptions>();
  options->service.prompts.generation.max_new_tokens = 30;
  add_serve_flags(*verb, *options);
  verb->footer(
      "Routes: the page at /, /health, /metrics, /v1/models, /v1/chat/completions, "
      "/v1/embeddings,\n"
      "/v1/rerank, /v1/score, /api/generate, /api/chat, /api/tags, /api/show, /api/ps, "
      "/api/version,\n"
      "/tokenize, /detokenize. See docs/serve.md.");
  verb->callback([options, verb] {
    settle_serve_options(*verb, *options);
    serve(*options);
  });
}

}  // namespace blip2
