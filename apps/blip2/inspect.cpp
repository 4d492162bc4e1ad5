#include <fmt/format.h>
#include <fmt/ranges.h>

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "apps/blip2/inspect_data.h"
#include "apps/blip2/output.h"
#include "apps/blip2/verbs.h"
#include "blip2/base/error.h"
#include "blip2/io/gguf.h"
#include "blip2/io/json.h"
#include "blip2/io/safetensors.h"
#include "blip2/io/tensor_file.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

struct InspectOptions {
  std::string path;
  bool json = false, records = false;
};

ordered_json metadata_of(const TensorFile& file) {
  ordered_json result = ordered_json::object();
  if (const auto* safetensors = dynamic_cast<const SafetensorsFile*>(&file)) {
    for (const auto& [key, value] : safetensors->metadata()) result[key] = value;
  }
  if (const auto* gguf = dynamic_cast<const GgufFile*>(&file)) {
    for (const auto& [key, value] : gguf->metadata()) result[key] = blip2::describe(value);
  }
  return result;
}

ordered_json describe_tensors(const TensorFile& file) {
  ordered_json tensors = ordered_json::array();
  std::int64_t elements = 0;
  for (const TensorView& tensor : file.tensors()) {
    elements += tensor.numel();
    tensors.push_back({{"name", tensor.name},
                       {"dtype", dtype_name(tensor.dtype)},
                       {"shape", tensor.shape},
                       {"bytes", tensor.data.size()}});
  }
  return {{"elements", elements}, {"tensors", std::move(tensors)}};
}

ordered_json describe_path(const fs::path& path) {
  ordered_json result{{"path", path.string()}};
  if (fs::is_directory(path)) {
    if (fs::exists(path / "config.json")) {
      result["config"] = ordered_json::parse(read_json(path / "config.json").dump());
    }
    result.update(describe_tensors(*open_model_weights(path)));
    return result;
  }
  if (path.extension() == ".json") {
    result["config"] = ordered_json::parse(read_json(path).dump());
    return result;
  }
  const auto file = open_tensor_file(path);
  result["metadata"] = metadata_of(*file);
  result.update(describe_tensors(*file));
  return result;
}

void print_plainly(const ordered_json& found) {
  for (const char* section : {"config", "metadata"}) {
    if (found.contains(section) && !found[section].empty()) {
      print_line(fmt::format("{}: {}", section, found[section].dump(2)));
    }
  }
  if (!found.contains("tensors")) return;
  for (const auto& tensor : found["tensors"]) {
    print_line(fmt::format("{:<8} {:<20} {}", tensor["dtype"].get<std::string>(),
                           tensor["shape"].dump(), tensor["name"].get<std::string>()));
  }
  print_line(fmt::format("{} tensors, {} elements", found["tensors"].size(),
                         found["elements"].get<std::int64_t>()));
}

}  // namespace

void add_inspect(CLI::App& app) {
  auto* verb = app.add_subcommand("inspect", "Show what a file, a model or a data set holds");
  auto options = std::make_shared<InspectOptions>();
  verb->add_option("PATH", options->path,
                   "A model directory, a safetensors, GGUF, .pth, .bin or JSON file, or data: a "
                   "data file, a list, a folder of pictures or tar shards")
      ->required();
  verb->add_flag("--records", options->records, "For data: print every record as a JSON line");
  add_json_flag(*verb, options->json);
  verb->callback([options] {
    if (options->records || is_data(options->path)) {
      return inspect_data(options->path, {options->records, options->json});
    }
    const ordered_json found = describe_path(options->path);
    if (options->json) {
      print_json(found);
    } else {
      print_plainly(found);
    }
  });
}

}  // namespace blip2
