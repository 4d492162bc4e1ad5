#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>

#include "apps/blip2/options.h"
#include "apps/blip2/verbs.h"
#include "blip2/base/error.h"
#include "blip2/base/interrupt.h"
#include "blip2/base/progress.h"
#include "blip2/io/safetensors.h"
#include "blip2/model/retrieval_model.h"
#include "blip2/nn/tensor_bridge.h"

namespace blip2 {
namespace {

constexpr std::size_t kAtOnce = 32;

struct EmbedOptions {
  RunOptions run;
  ImageInputs inputs;
  std::string texts, output;
};

// Calls work(begin, count) for parts of `total` with progress; concatenates what it gives.
template <typename Work>
at::Tensor in_batches(const char* label, std::size_t total, const Work& work) {
  Progress progress(label, static_cast<std::int64_t>(total));
  std::vector<at::Tensor> parts;
  for (std::size_t begin = 0; begin < total; begin += kAtOnce) {
    if (interrupted()) throw Interrupted{};
    const std::size_t count = std::min(kAtOnce, total - begin);
    parts.push_back(work(begin, count));
    progress.update(static_cast<std::int64_t>(begin + count));
  }
  progress.finish();
  return at::cat(parts).contiguous();
}

void embed(const EmbedOptions& options) {
  apply_threads(options.run.threads);
  const bool has_images = !options.inputs.images.empty() || !options.inputs.list.empty();
  if (!has_images && options.texts.empty()) throw Error("expected pictures or --texts", "embed");
  const at::InferenceMode inference;
  const RetrievalModel model(options.run.model, options.run.precision);
  std::map<std::string, std::string> metadata;
  std::vector<TensorView> views;
  at::Tensor images, texts;
  if (has_images) {
    const auto paths = image_paths(options.inputs);
    images = in_batches("pictures", paths.size(), [&](std::size_t begin, std::size_t count) {
      return model.embed_images(
          model.look(model.images().encode(std::span(paths).subspan(begin, count))));
    });
    metadata["images"] = nlohmann::json(paths).dump();
    views.push_back(view_of("image_embeds", images));
  }
  if (!options.texts.empty()) {
    const auto lines = read_lines(options.texts);
    if (lines.empty()) throw Error("expected a text a line, got none", options.texts);
    texts = in_batches("texts", lines.size(), [&](std::size_t begin, std::size_t count) {
      return model.embed_texts(model.tokenize(std::span(lines).subspan(begin, count)));
    });
    metadata["texts"] = nlohmann::json(lines).dump();
    views.push_back(view_of("text_embeds", texts));
  }
  write_safetensors(options.output, views, metadata);
}

}  // namespace

void add_embed(CLI::App& app) {
  auto* verb = app.add_subcommand("embed", "Write the vectors of pictures and texts");
  auto options = std::make_shared<EmbedOptions>();
  add_run_options(*verb, options->run);
  add_image_inputs(*verb, options->inputs);
  verb->add_option("--texts", options->texts, "File with a text a line");
  verb->add_option("--output", options->output,
                   "File.safetensors to write: image_embeds [N, Q, E], text_embeds [M, E]")
      ->required();
  verb->callback([options] { embed(*options); });
}

}  // namespace blip2
