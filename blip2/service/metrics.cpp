#include <fmt/format.h>

#include <initializer_list>
#include <string_view>
#include <utility>

#include "blip2/service/metrics_internal.h"

namespace blip2 {
namespace {

class Metrics {
 public:
  template <typename Number>
  void gauge(std::string_view name, std::string_view help, Number value) {
    add(name, "gauge", help, value);
  }
  template <typename Number>
  void counter(std::string_view name, std::string_view help, Number value) {
    add(name, "counter", help, value);
  }
  void head(std::string_view name, std::string_view kind, std::string_view help) {
    text_ += fmt::format("# HELP blip2_{0} {1}\n# TYPE blip2_{0} {2}\n", name, help, kind);
  }
  void histogram(std::string_view name, std::string_view help, const Histogram& values) {
    head(name, "histogram", help);
    std::int64_t below = 0;
    for (std::size_t i = 0; i < Histogram::kBounds.size(); ++i) {
      below += values.counts[i];
      text_ += fmt::format("blip2_{}_bucket{{le=\"{}\"}} {}\n", name, Histogram::kBounds[i], below);
    }
    text_ +=
        fmt::format("blip2_{0}_bucket{{le=\"+Inf\"}} {1}\nblip2_{0}_sum {2}\nblip2_{0}_count {1}\n",
                    name, values.total, values.sum);
  }
  void labelled(std::string_view name, std::string_view label,
                std::initializer_list<std::pair<std::string, double>> values) {
    for (const auto& [of, value] : values) {
      text_ += fmt::format("blip2_{}{{{}=\"{}\"}} {}\n", name, label, of, value);
    }
  }
  std::string text() && { return std::move(text_); }

 private:
  template <typename Number>
  void add(std::string_view name, std::string_view kind, std::string_view help, Number value) {
    head(name, kind, help);
    text_ += fmt::format("blip2_{} {}\n", name, value);
  }
  std::string text_;
};

void add_present(Metrics& metrics, const EngineCounts& now, std::size_t parsing) {
  metrics.gauge("requests_parsing", "Requests whose bodies wait to be read", parsing);
  metrics.gauge("jobs_waiting", "Jobs in the queue", now.waiting);
  metrics.gauge("jobs_running", "Jobs that are being answered", now.jobs_running);
  metrics.gauge("rows_running", "Sequences that are being written", now.rows_running);
  metrics.gauge("pictures_waiting", "Pictures that wait for a thread to decode them",
                now.pictures_waiting);
  metrics.gauge("pictures_decoding", "Pictures that are being decoded", now.pictures_decoding);
  metrics.gauge("cache_bytes", "Bytes of pictures' features that are kept", now.cache_bytes);
  metrics.gauge("cache_pictures", "Pictures whose features are kept", now.cache_pictures);
}

double count(std::int64_t value) {
  return static_cast<double>(value);
}

void add_totals(Metrics& metrics, const EngineCounts& sums) {
  metrics.head("jobs_total", "counter", "Jobs by how they ended");
  metrics.labelled("jobs_total", "end",
                   {{"done", count(sums.done)},
                    {"failed", count(sums.failed)},
                    {"cancelled", count(sums.cancelled)},
                    {"timed_out", count(sums.timed_out)},
                    {"refused", count(sums.refused)}});
  metrics.counter("prompt_tokens_total", "Positions of prompts read", sums.prompt_tokens);
  metrics.counter("generation_tokens_total", "Tokens written", sums.written_tokens);
  metrics.counter("cache_hits_total", "Pictures whose features were known", sums.cache_hits);
  metrics.counter("cache_misses_total", "Pictures that had to be encoded", sums.cache_misses);
  metrics.counter("steps_total", "Steps of writing", sums.steps);
  metrics.counter("step_rows_total", "Sequences of all steps of writing", sums.step_rows);
  metrics.head("model_seconds_total", "counter", "Seconds of the model's thread by work");
  metrics.labelled("model_seconds_total", "work",
                   {{"encode", sums.encode_seconds},
                    {"prompt", sums.prompt_seconds},
                    {"write", sums.write_seconds},
                    {"retrieval", sums.retrieval_seconds}});
  metrics.histogram("first_token_seconds", "Seconds from a job's arrival to its first token",
                    sums.first_token);
  metrics.histogram("job_seconds", "Seconds from a job's arrival to its end", sums.whole_job);
}

void add_http(Metrics& metrics, const HttpCounts& http) {
  metrics.gauge("http_connections", "Open connections", http.connections);
  metrics.gauge("http_requests_running", "Requests that have not been answered", http.running);
  metrics.counter("http_connections_total", "Connections accepted", http.connections_taken);
  metrics.counter("http_connections_refused_total", "Connections over the limit",
                  http.connections_refused);
  metrics.counter("http_received_bytes_total", "Bytes received", http.bytes_in);
  metrics.counter("http_sent_bytes_total", "Bytes sent", http.bytes_out);
  metrics.head("http_requests_total", "counter", "Requests by status; 499: the client left first");
  for (const auto& [status, count] : http.answers) {
    metrics.labelled("http_requests_total", "status",
                     {{std::to_string(status), static_cast<double>(count)}});
  }
}

}  // namespace

std::string prometheus_text(const EngineCounts& engine, const HttpCounts& http,
                            std::size_t requests_parsing) {
  Metrics metrics;
  add_present(metrics, engine, requests_parsing);
  add_totals(metrics, engine);
  add_http(metrics, http);
  return std::move(metrics).text();
}

}  // namespace blip2
