#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>

#include "apps/blip2/bad_items.h"
#include "apps/blip2/choice_flags.h"
#include "apps/blip2/options.h"
#include "apps/blip2/verbs.h"
#include "blip2/base/error.h"
#include "blip2/base/interrupt.h"
#include "blip2/data/name_list.h"
#include "blip2/io/utf8.h"
#include "blip2/nn/batch_invariant.h"
#include "blip2/retrieval/labels.h"

namespace blip2 {
namespace {

using nlohmann::ordered_json;

struct LabelVerbOptions {
  RunOptions run;
  ImageInputs inputs;
  std::string names;
  LabelOptions ranking;
  std::int64_t top = 5, batch_size = 32;
};

void print_labels(const std::string& image, const LabelList& list, std::span<const Label> labels,
                  bool json) {
  if (json) {
    ordered_json entries = ordered_json::array();
    for (const Label& label : labels) {
      entries.push_back({{"name", list.names()[label.name]},
                         {"probability", label.probability},
                         {"itc", label.itc},
                         {"itm", label.itm ? ordered_json(*label.itm) : ordered_json()}});
    }
    return print_json({{"image", image}, {"labels", std::move(entries)}});
  }
  std::string line = one_line(image);
  for (const Label& label : labels) {
    line += fmt::format("\t{} {:.4f}", one_line(list.names()[label.name]), label.probability);
  }
  print_line(line);
}

// Names the pictures of one batch.
void label_batch(const LabelVerbOptions& options, const RetrievalModel& model,
                 const LabelList& list, std::span<const std::string> images, BadItems& bad) {
  const ReadPictures pictures = model.images().encode_readable(images);
  std::vector<std::vector<Label>> labels(images.size());
  batch_invariant_for(pictures.good.size(), [&](std::size_t i) {
    const at::InferenceMode inference;
    const auto features = pictures.features.alone(static_cast<std::int64_t>(i));
    auto& ranked = labels[pictures.good[i]] = list.rank(model.project_images(features));
    ranked.resize(std::min(ranked.size(), static_cast<std::size_t>(options.top)));
  });
  for (std::size_t i = 0; i < images.size(); ++i) {
    if (pictures.failures[i].empty()) {
      print_labels(images[i], list, labels[i], options.run.json);
    } else {
      bad.add(images[i], pictures.failures[i]);
    }
  }
}

void label(const LabelVerbOptions& options) {
  const auto images = image_paths(options.inputs);
  std::vector<std::string> names = read_names(options.names);
  apply_threads(options.run.threads);
  const at::InferenceMode inference;
  const RetrievalModel model(options.run.model, options.run.precision, bridge_type(options.run),
                             options.run.pictures);
  const LabelList list(model, std::move(names), options.ranking);
  const auto batch = static_cast<std::size_t>(options.batch_size);
  BadItems bad(options.run.json, options.inputs.bad_share);
  for (std::size_t begin = 0; begin < images.size(); begin += batch) {
    if (interrupted()) throw Interrupted{};
    const std::size_t count = std::min(batch, images.size() - begin);
    label_batch(options, model, list, std::span(images).subspan(begin, count), bad);
  }
  bad.finish(images.size());
}

}  // namespace

void add_label(CLI::App& app) {
  auto* verb = app.add_subcommand("label", "Name what pictures show, out of a list of names");
  auto options = std::make_shared<LabelVerbOptions>();
  add_run_options(*verb, options->run);
  add_image_inputs(*verb, options->inputs);
  verb->add_option("--names", options->names, "File with one name in each line")->required();
  verb->add_option(
          "--template", options->ranking.templates,
          "Text in which {} stands for the name (with several, the mean of their vectors counts)")
      ->take_all()
      ->allow_extra_args(false)  // what follows is a picture
      ->capture_default_str();
  verb->add_option("--top", options->top, "Number of names to print for each picture")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  add_ranking_flags(*verb, options->ranking);
  verb->add_option("--batch-size", options->batch_size, "Number of pictures computed at a time")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  verb->footer(
      "probability: of the name among all names of the list, which sum to 1. Contrast (itc) gives\n"
      "each name its probability, and matching (itm) shares the sum of the --rerank best names\n"
      "among these; see docs/label.md.");
  verb->callback([options] { label(*options); });
}

}  // namespace blip2
