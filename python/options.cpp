#include "python/options.h"

#include <ATen/Parallel.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "blip2/io/fields.h"
#include "blip2/model/generation_config.h"

namespace blip2 {
namespace {

GenerationOptions defaults_of(TextTask task) {
  GenerationOptions options;
  if (task != TextTask::chat) options.beams = 5;
  if (task == TextTask::answer) {
    options.max_new_tokens = 10;
    options.length_penalty = -1;
  }
  return options;
}

}  // namespace

GenerationOptions text_options(const std::filesystem::path& folder, TextTask task,
                               const std::string& given) {
  constexpr std::int64_t kUnset = -1;
  const nlohmann::json object = nlohmann::json::parse(given);
  GenerationOptions options = defaults_of(task);
  const std::int64_t beams = std::exchange(options.beams, kUnset);
  read_fields(options, object, "options");
  apply_generation_config(
      folder, [&](std::string_view key) { return object.contains(key); }, options);
  if (options.beams == kUnset) options.beams = options.sample ? 1 : beams;
  validate(options);
  return options;
}

void use_threads(int threads) {
  if (threads > 0) at::set_num_threads(threads);
}

}  // namespace blip2
