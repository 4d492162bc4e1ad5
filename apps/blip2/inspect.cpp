#include <fmt/format.h>
#include <fmt/ranges.h>

#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "apps/blip2/inspect_data.h"
#include "apps/blip2/model_flag.h"
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

// The tensors of the files, and for each type how many it has and what they take.
class TensorList {
 public:
  void add(const TensorFile& file) {
    for (const TensorView& tensor : file.tensors()) {
      const auto bytes = static_cast<std::int64_t>(tensor.data.size());
      tensors_.push_back({{"name", tensor.name},
                          {"dtype", dtype_name(tensor.dtype)},
                          {"shape", tensor.shape},
                          {"bytes", bytes}});
      for (Sum* sum : {&all_, &types_[std::string(dtype_name(tensor.dtype))]}) {
        sum->tensors += 1, sum->elements += tensor.numel(), sum->bytes += bytes;
      }
    }
  }

  ordered_json json() const {
    ordered_json types = ordered_json::object();
    for (const auto& [name, sum] : types_) types[name] = sum.json();
    return {{"elements", all_.elements},
            {"bits_per_weight", all_.bits()},
            {"types", types},
            {"tensors", tensors_}};
  }

 private:
  struct Sum {
    std::int64_t tensors = 0, elements = 0, bytes = 0;

    double bits() const {
      return elements == 0 ? 0 : 8.0 * static_cast<double>(bytes) / static_cast<double>(elements);
    }
    ordered_json json() const {
      return {{"tensors", tensors},
              {"elements", elements},
              {"bytes", bytes},
              {"bits_per_weight", bits()}};
    }
  };

  ordered_json tensors_ = ordered_json::array();
  Sum all_;
  std::map<std::string, Sum> types_;
};

void describe_folder(const fs::path& path, ordered_json& result) {
  if (fs::exists(path / "config.json")) {
    result["config"] = ordered_json::parse(read_json(path / "config.json").dump());
  }
  TensorList list;
  list.add(*open_model_weights(path));
  if (fs::exists(path / kLanguageGguf)) list.add(*open_gguf(path / kLanguageGguf));
  result.update(list.json());
}

ordered_json describe_path(const fs::path& path) {
  ordered_json result{{"path", path.string()}};
  if (fs::is_directory(path)) {
    describe_folder(path, result);
    return result;
  }
  if (path.extension() == ".json") {
    result["config"] = ordered_json::parse(read_json(path).dump());
    return result;
  }
  const auto file = open_tensor_file(path);
  result["metadata"] = metadata_of(*file);
  TensorList list;
  list.add(*file);
  result.update(list.json());
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
  for (const auto& [type, sum] : found["types"].items()) {
    print_line(fmt::format("{:<8} {} tensors, {} elements, {:.2f} bits each", type,
                           sum["tensors"].get<std::int64_t>(), sum["elements"].get<std::int64_t>(),
                           sum["bits_per_weight"].get<double>()));
  }
  print_line(fmt::format("{} tensors, {} elements, {:.2f} bits each", found["tensors"].size(),
                         found["elements"].get<std::int64_t>(),
                         found["bits_per_weight"].get<double>()));
}

}  // namespace

void add_inspect(CLI::App& app) {
  auto* verb = app.add_subcommand("inspect", "Show what a file, a model or a data set holds");
  auto options = std::make_shared<InspectOptions>();
  add_model(*verb, "PATH", options->path,
            "A model directory, a safetensors, GGUF, .pth, .bin or JSON file, data (a data file, a "
            "list, a folder of pictures or tar shards)")
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
