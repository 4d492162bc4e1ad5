#include <ATen/ops/softmax.h>
#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <numeric>

#include "apps/blip2/bad_items.h"
#include "apps/blip2/options.h"
#include "apps/blip2/verbs.h"
#include "blip2/base/error.h"
#include "blip2/base/interrupt.h"
#include "blip2/model/retrieval_model.h"
#include "blip2/qformer/stage1_heads.h"

namespace blip2 {
namespace {

struct MatchOptions {
  RunOptions run;
  ImageInputs inputs;
  std::vector<std::string> texts;
  bool special_tokens = false;
};

void match(const MatchOptions& options) {
  const auto paths = image_paths(options.inputs);
  apply_threads(options.run.threads);
  const at::InferenceMode inference;
  const RetrievalModel model(options.run.model, options.run.precision, bridge_type(options.run),
                             options.run.pictures);
  const TextRows texts = model.tokenize(options.texts, options.special_tokens);
  const at::Tensor text_vectors = model.embed_texts(texts);  // [M, E]
  Pairs pairs;
  pairs.texts.resize(options.texts.size());
  std::iota(pairs.texts.begin(), pairs.texts.end(), 0);
  pairs.images.assign(options.texts.size(), 0);
  BadItems bad(options.run.json, options.inputs.bad_share);
  for (const std::string& path : paths) {
    if (interrupted()) throw Interrupted{};
    const ReadPictures read = model.images().encode_readable(std::span(&path, 1));
    if (read.good.empty()) {
      bad.add(path, read.failures[0]);
      continue;
    }
    const auto image = model.project_images(read.features);
    const at::Tensor cosine = best_cosine(model.embed_images(image), text_vectors)[0];  // [M]
    const at::Tensor matched =
        at::softmax(model.match(image, texts, pairs), 1).select(1, 1);  // [M]
    for (std::size_t t = 0; t < options.texts.size(); ++t) {
      const auto at = static_cast<std::int64_t>(t);
      const double itc = cosine[at].item<double>(), itm = matched[at].item<double>();
      if (options.run.json) {
        print_json({{"image", path}, {"text", options.texts[t]}, {"itc", itc}, {"itm", itm}});
      } else {
        print_row({path, options.texts[t], fmt::format("itc {:.4f}", itc),
                   fmt::format("itm {:.4f}", itm)});
      }
    }
  }
  bad.finish(paths.size());
}

}  // namespace

void add_match(CLI::App& app) {
  auto* verb = app.add_subcommand("match", "Say how well texts fit pictures");
  auto options = std::make_shared<MatchOptions>();
  add_run_options(*verb, options->run);
  add_image_inputs(*verb, options->inputs);
  verb->add_option("--text", options->texts, "A text (may be repeated)")
      ->required()
      ->take_all()
      ->allow_extra_args(false);  // what follows is a picture
  add_special_tokens_flag(*verb, options->special_tokens);
  verb->footer(
      "itc: image-text contrast, the cosine in [-1, 1] of the text's vector and the picture's "
      "best\n"
      "query. It is cheap and comparable between pictures: use it to rank many.\n"
      "itm: image-text matching, the probability in [0, 1] that text and picture belong together,\n"
      "from a pass in which the queries see both. It is more exact: use it to decide or to "
      "re-rank\n"
      "a few.");
  verb->callback([options] { match(*options); });
}

}  // namespace blip2
