#include <filesystem>
#include <memory>

#include "apps/blip2/options.h"
#include "apps/blip2/verbs.h"
#include "blip2/base/log.h"
#include "blip2/model/assembly.h"

namespace blip2 {
namespace {

struct ConvertOptions {
  std::string source, folder, weights = "bf16";
};

void convert(const ConvertOptions& options) {
  const at::ScalarType type = options.weights == "f32" ? at::kFloat : at::kBFloat16;
  if (std::filesystem::is_directory(options.source)) {
    convert_precision(options.source, options.folder, type);
  } else {
    assemble(read_assembly(options.source), options.folder, type);
  }
  log_info("model written to {}", options.folder);
}

}  // namespace

void add_convert(CLI::App& app) {
  auto* verb = app.add_subcommand("convert", "Assemble a model directory, or change its precision");
  auto options = std::make_shared<ConvertOptions>();
  verb->add_option("SOURCE", options->source,
                   "Assembly file that names the parts (TOML), or a model directory")
      ->required();
  verb->add_option("DIR", options->folder, "Model directory to write")->required();
  verb->add_option("--weights", options->weights, "Number type of the language model's weights")
      ->check(CLI::IsMember({"f32", "bf16"}))
      ->capture_default_str();
  verb->callback([options] { convert(*options); });
}

}  // namespace blip2
