#include "apps/blip2/serve_flags.h"

#include <cmath>
#include <filesystem>
#include <map>

#include "apps/blip2/generation_flags.h"
#include "blip2/base/error.h"
#include "blip2/io/hub_cache.h"

namespace blip2 {
namespace {

// CLI::Range lets nan pass.
const CLI::Validator kSeconds(
    [](std::string& text) {
      char* end = nullptr;
      const double value = std::strtod(text.c_str(), &end);
      const bool good = end != text.c_str() && *end == '\0' && value > 0 && value <= 86400;
      return good ? std::string() : "expected seconds above 0, at most 86400, got " + text;
    },
    "SECONDS");

void add_address_flags(CLI::App& verb, ServeOptions& options) {
  verb.add_option(
          "--host", options.http.hosts,
          "Addresses, names, or paths of unix sockets that end in .sock, separated by commas")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->capture_default_str();
  verb.add_option("--port", options.http.port, "Port; 0: the system chooses a free one")
      ->capture_default_str();
  verb.add_option("--api-key", options.http.api_keys,
                  "Key that requests must carry as \"Authorization: Bearer KEY\" or X-API-Key "
                  "(may be repeated); BLIP2_API_KEY keeps it out of the list of processes")
      ->allow_extra_args(false);
  verb.add_option("--api-key-file", options.api_key_file,
                  "File with a key a line; empty lines and lines that begin with # do not count");
  verb.add_option("--cors-origins", options.http.cors_origins,
                  "Origins whose pages may use the server, separated by commas; *: all")
      ->delimiter(',')
      ->allow_extra_args(false);
  verb.add_option("--tls-cert", options.http.tls_cert, "PEM file of the certificate chain");
  verb.add_option("--tls-key", options.http.tls_key, "PEM file of the certificate's key");
  verb.get_option("--tls-cert")->needs(verb.get_option("--tls-key"));
  verb.get_option("--tls-key")->needs(verb.get_option("--tls-cert"));
  verb.add_option("--log-jsonl", options.log_jsonl,
                  "File to which a JSON object is added for each request; -: standard error");
}

void add_limit_flags(CLI::App& verb, ServeOptions& options) {
  HttpLimits& http = options.http.limits;
  PictureRules& pictures = options.service.limits.pictures;
  verb.add_option("--max-queue", options.engine.max_queue,
                  "Requests that may wait; more are answered 429")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  verb.add_option("--max-batch", options.engine.max_batch, "Texts that are written side by side")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  verb.add_option("--max-tokens", options.service.limits.max_tokens,
                  "Most new tokens that a request may ask for")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  verb.add_option("--max-image-pixels", options.max_image_pixels,
                  "Most pixels of a picture; default: 178956970, as Pillow has it")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 40));
  verb.add_option("--max-image-bytes", pictures.max_bytes, "Most bytes of a picture's file")
      ->check(CLI::Range(std::uint64_t{1}, std::uint64_t{1} << 32))
      ->capture_default_str();
  verb.add_option("--max-body-bytes", http.body_bytes, "Most bytes of a request's body")
      ->check(CLI::Range(std::uint64_t{1}, std::uint64_t{1} << 32))
      ->capture_default_str();
  verb.add_option("--max-header-bytes", http.header_bytes, "Most bytes of a request's header")
      ->check(CLI::Range(256, 65'000))
      ->capture_default_str();
  verb.add_option("--max-connections", http.connections, "Most open connections")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  verb.add_option("--cache-mib", options.cache_mib,
                  "MiB of pictures' features that are kept for further questions")
      ->check(CLI::Range(0, 1 << 20))
      ->capture_default_str();
}

void add_time_flags(CLI::App& verb, ServeOptions& options) {
  HttpLimits& http = options.http.limits;
  for (const auto& [name, value, help] :
       std::initializer_list<std::tuple<const char*, double*, const char*>>{
           {"--request-timeout", &options.request_timeout, "Seconds for an answer; beyond it: 504"},
           {"--header-timeout", &http.header_seconds, "Seconds for a request's header"},
           {"--body-timeout", &http.body_seconds, "Seconds for a request's body"},
           {"--idle-timeout", &http.idle_seconds, "Seconds between two requests of a connection"},
           {"--drain-timeout", &options.drain_timeout,
            "Seconds for the requests that run when the server is asked to stop"}}) {
    verb.add_option(name, *value, help)->check(kSeconds)->capture_default_str();
  }
}

void add_model_flags(CLI::App& verb, ServeOptions& options) {
  PictureRules& pictures = options.service.limits.pictures;
  verb.add_option(
      "--model-name", options.model_name,
      "Name of the model for clients; default: its name in the Hub, or the directory's");
  verb.add_option(
          "--task", options.task,
          "What a request's text is: auto (a question; without a text, a caption is asked "
          "for), caption (a caption is asked for, whatever the text), question, raw (the prompt "
          "itself), or chat (as auto, in the language model's chat template)")
      ->check(CLI::IsMember({"auto", "caption", "question", "raw", "chat"}))
      ->capture_default_str();
  add_special_tokens_flag(verb, options.service.prompts.special_tokens);
  verb.add_option("--allow-image-hosts", pictures.hosts,
                  "Hosts from which https pictures are fetched, separated by commas; default: none")
      ->delimiter(',')
      ->allow_extra_args(false);
  verb.add_option("--media-root", pictures.media_root,
                  "Folder below which file:// pictures are read; default: none are")
      ->check(CLI::ExistingDirectory);
  verb.add_option("--picture-threads", options.engine.picture_threads,
                  "Threads that decode and resize pictures")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
}

void add_keys_of_file(const std::string& path, std::vector<std::string>& keys) {
  std::size_t number = 0, found = 0;
  for (const std::string& line : read_lines(path)) {
    ++number;
    const auto begin = line.find_first_not_of(" \t"), end = line.find_last_not_of(" \t");
    if (begin == std::string::npos || line[begin] == '#') continue;
    const std::string key = line.substr(begin, end - begin + 1);
    for (const char c : key) {
      if (c > ' ' && c < 127) continue;
      throw Error("expected a key of printable ASCII without blanks",
                  path + ":" + std::to_string(number));
    }
    keys.push_back(key);
    ++found;
  }
  if (found == 0) throw Error("expected at least one key, got none", path);
}

}  // namespace

void add_serve_flags(CLI::App& verb, ServeOptions& options) {
  add_run_options(verb, options.run);
  verb.remove_option(verb.get_option("--json"));
  add_address_flags(verb, options);
  add_limit_flags(verb, options);
  add_time_flags(verb, options);
  add_model_flags(verb, options);
  add_generation_flags(verb, options.service.prompts.generation);
}

void settle_serve_options(const CLI::App& verb, ServeOptions& options) {
  if (!options.api_key_file.empty()) {
    add_keys_of_file(options.api_key_file, options.http.api_keys);
  }
  if (options.model_name.empty()) {
    options.model_name = model_name(std::filesystem::weakly_canonical(options.run.model));
  }
  options.service.limits.models = {options.model_name};
  options.service.limits.max_body = options.http.limits.body_bytes;
  if (options.max_image_pixels > 0) {
    options.service.limits.pictures.max_pixels = options.max_image_pixels;
    options.engine.max_picture_pixels = options.max_image_pixels;
  }
  const std::map<std::string, PromptTask> tasks = {{"auto", PromptTask::automatic},
                                                   {"caption", PromptTask::caption},
                                                   {"question", PromptTask::question},
                                                   {"raw", PromptTask::raw},
                                                   {"chat", PromptTask::automatic}};
  options.service.prompts.task = tasks.at(options.task);
  options.engine.chat = options.task == "chat";
  options.engine.precision = options.run.precision;
  options.engine.bridge_in_bf16 = options.run.bridge_precision == "bf16";
  options.engine.pictures = options.run.pictures;
  options.engine.cache_bytes = options.cache_mib << 20;
  options.engine.job_timeout =
      std::chrono::milliseconds(std::llround(options.request_timeout * 1000));
  settle_generation(verb, options.run.model, options.service.prompts.generation);
}

}  // namespace blip2
