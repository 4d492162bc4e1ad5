#include "apps/blip2/options.h"

#include <ATen/Parallel.h>
#include <filesystem>
#include <sstream>

#include "apps/blip2/bad_items.h"
#include "apps/blip2/model_flag.h"
#include "blip2/base/error.h"
#include "blip2/base/file.h"
#include "blip2/data/records.h"
#include "blip2/io/picture_format.h"
#include "blip2/io/utf8.h"

namespace blip2 {

void add_special_tokens_flag(CLI::App& verb, bool& special_tokens) {
  verb.add_flag(
      "--special-tokens", special_tokens,
      "Special tokens written out in texts count as tokens; otherwise they are plain text");
}

Prompt typed_text(const std::string& text, bool special_tokens) {
  return special_tokens ? Prompt(text) : Prompt::plain(text);
}

std::string refuse_empty(const std::string& name) {
  return name.empty() ? "expected a name, got an empty one" : "";
}

void add_timeout(CLI::App& verb, std::chrono::seconds& timeout) {
  verb.add_option_function<std::int64_t>(
          "--timeout", [&timeout](std::int64_t given) { timeout = std::chrono::seconds(given); },
          "Seconds to wait for another process before giving up, if several work together")
      ->check(CLI::Range(1, 86400))
      ->default_str(std::to_string(timeout.count()));
}

void add_run_options(CLI::App& verb, RunOptions& options) {
  add_model(verb, "--model", options.model, "Model directory")->required();
  verb.add_option("--device", options.device, "Device on which to compute; this build has cpu")
      ->check(CLI::IsMember({"cpu"}))
      ->capture_default_str();
  verb.add_option("--precision", options.precision,
                  "Number type of the frozen parts: f32, bf16, f16, or auto: as the files store "
                  "them, GGUF's blocks included")
      ->check(CLI::IsMember({"auto", "f32", "bf16", "f16"}))
      ->capture_default_str();
  verb.add_option("--bridge-precision", options.bridge_precision,
                  "Number type in which the Q-Former computes: f32, or bf16 with f32 weights")
      ->check(CLI::IsMember({"f32", "bf16"}))
      ->capture_default_str();
  verb.add_option("--threads", options.threads,
                  "Number of threads for tensor operations; 0: one for each core")
      ->check(CLI::Range(0, 1024));
  add_picture_choices(verb, options.pictures);
  add_json_flag(verb, options.json);
}

at::ScalarType bridge_type(const RunOptions& options) {
  return options.bridge_precision == "bf16" ? at::kBFloat16 : at::kFloat;
}

void apply_threads(int threads) {
  if (threads > 0) at::set_num_threads(threads);
}

void add_image_inputs(CLI::App& verb, ImageInputs& inputs) {
  verb.add_option("IMAGE", inputs.images, "Pictures: " + picture_names() + " files");
  verb.add_option("--images-from", inputs.list,
                  "File with the name of a picture in each line, or a data file (JSONL, COCO)");
  add_bad_share(verb, inputs.bad_share);
}

std::vector<std::string> read_lines(const std::string& path) {
  const std::string content = read_file(path);
  without_byte_order_mark(content, path);  // refuses UTF-16
  std::istringstream text(content);
  std::vector<std::string> lines;
  for (std::string line; std::getline(text, line);) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    lines.emplace_back(
        without_byte_order_mark(line, path));  // files put together have marks within
  }
  return lines;
}

namespace {

// Whether a list is JSON and not a picture a line.
bool is_data_file(const std::string& path) {
  if (!std::filesystem::is_regular_file(path)) return false;
  const auto file = MappedFile::open(path);
  for (const std::byte byte : file->bytes()) {
    const char c = static_cast<char>(byte);
    if (c == '{' || c == '[') return true;
    if (c != ' ' && c != '\n' && c != '\r' && c != '\t') break;
  }
  return false;
}

void add_listed(const std::string& list, std::vector<ListedImage>& images) {
  if (!is_data_file(list)) {
    for (std::string& line : read_lines(list)) {
      if (!line.empty()) images.push_back({std::move(line), {}});
    }
    return;
  }
  for (Record& record : read_records(list, RecordUse::pictures, {.share = 0}).records) {
    const bool own = record.image_id != record.image;
    images.push_back({std::move(record.image), own ? std::move(record.image_id) : std::string()});
  }
}

}  // namespace

std::vector<ListedImage> listed_images(const ImageInputs& inputs) {
  std::vector<ListedImage> images;
  for (const std::string& path : inputs.images) images.push_back({path, {}});
  if (!inputs.list.empty()) add_listed(inputs.list, images);
  if (!images.empty()) return images;
  if (inputs.list.empty()) throw CLI::ValidationError("IMAGE", "expected at least one picture");
  throw Error("expected at least one picture", inputs.list);
}

std::vector<std::string> image_paths(const ImageInputs& inputs) {
  std::vector<std::string> paths;
  for (ListedImage& listed : listed_images(inputs)) paths.push_back(std::move(listed.image));
  return paths;
}

}  // namespace blip2
