#include "apps/blip2/options.h"

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <cstdio>
#include <nlohmann/json.hpp>
#include <sstream>

#include "blip2/base/error.h"
#include "blip2/base/file.h"
#include "blip2/base/log.h"

namespace blip2 {

void add_json_flag(CLI::App& verb, bool& json) {
  verb.add_flag("--json", json, "Print one JSON object a line");
}

void add_timeout(CLI::App& verb, std::chrono::seconds& timeout) {
  verb.add_option_function<std::int64_t>(
          "--timeout", [&timeout](std::int64_t given) { timeout = std::chrono::seconds(given); },
          "Seconds to wait for another of several processes before giving up")
      ->check(CLI::Range(1, 86400))
      ->default_str(std::to_string(timeout.count()));
}

void add_run_options(CLI::App& verb, RunOptions& options) {
  verb.add_option("--model", options.model, "Model directory")->required();
  verb.add_option("--device", options.device, "Where to compute; this build knows cpu")
      ->check(CLI::IsMember({"cpu"}))
      ->capture_default_str();
  verb.add_option("--precision", options.precision,
                  "Of the frozen parts: f32, bf16, f16, or auto: as the files store them")
      ->check(CLI::IsMember({"auto", "f32", "bf16", "f16"}))
      ->capture_default_str();
  verb.add_option("--bridge-precision", options.bridge_precision,
                  "In which the Q-Former computes: f32, or bf16 with f32 weights")
      ->check(CLI::IsMember({"f32", "bf16"}))
      ->capture_default_str();
  verb.add_option("--threads", options.threads, "Threads of tensor operations; 0: one a core")
      ->check(CLI::Range(0, 1024));
  add_json_flag(verb, options.json);
}

at::ScalarType bridge_type(const RunOptions& options) {
  return options.bridge_precision == "bf16" ? at::kBFloat16 : at::kFloat;
}

void apply_threads(int threads) {
  if (threads > 0) at::set_num_threads(threads);
}

void add_image_inputs(CLI::App& verb, ImageInputs& inputs) {
  verb.add_option("IMAGE", inputs.images, "Pictures: JPEG, PNG or WebP files");
  verb.add_option("--images-from", inputs.list, "File that names a picture a line");
}

void print_fault(const std::string& image, const std::string& fault, bool json) {
  if (json) print_json({{"image", image}, {"error", fault}});
  log_line(fault);
}

void require_all_read(std::size_t bad, std::size_t images) {
  if (bad == 0) return;
  throw Error(fmt::format("{} of {} pictures cannot be read", bad, images), "IMAGE",
              "they are named above");
}

std::vector<std::string> read_lines(const std::string& path) {
  std::istringstream text(read_file(path));
  std::vector<std::string> lines;
  for (std::string line; std::getline(text, line);) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    lines.push_back(std::move(line));
  }
  return lines;
}

std::vector<std::string> image_paths(const ImageInputs& inputs) {
  std::vector<std::string> paths = inputs.images;
  if (!inputs.list.empty()) {
    for (std::string& line : read_lines(inputs.list)) {
      if (!line.empty()) paths.push_back(std::move(line));
    }
  }
  if (paths.empty()) throw Error("expected at least one picture", "IMAGE");
  return paths;
}

void print_line(const std::string& line) {
  if (std::fwrite(line.data(), 1, line.size(), stdout) != line.size() ||
      std::fputc('\n', stdout) == EOF) {
    throw Error("cannot write", "standard output");
  }
}

void print_json(const nlohmann::ordered_json& object) {
  print_line(object.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
  std::fflush(stdout);
}

}  // namespace blip2
