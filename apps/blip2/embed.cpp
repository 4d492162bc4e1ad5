#include <fmt/format.h>

#include <chrono>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>

#include "apps/blip2/bad_items.h"
#include "apps/blip2/options.h"
#include "apps/blip2/verbs.h"
#include "blip2/base/error.h"
#include "blip2/base/file.h"
#include "blip2/io/safetensors.h"
#include "blip2/model/retrieval_model.h"
#include "blip2/nn/tensor_bridge.h"
#include "blip2/processes/rank_work.h"
#include "blip2/processes/ranks.h"

namespace blip2 {
namespace {

constexpr std::size_t kAtOnce = 32;

struct EmbedOptions {
  RunOptions run;
  ImageInputs inputs;
  std::string texts, output, mode = "vectors";
  std::chrono::seconds timeout{600};
};

// The tensors to write, and the names of their pictures and texts.
struct Embeddings {
  std::map<std::string, std::string> metadata;
  std::vector<std::pair<std::string, at::Tensor>> tensors;
};

// Why pictures of this process cannot be read: an entry for each picture, "" for a good one.
using Failures = std::vector<std::string>;

Failures embed_pictures(const RetrievalModel& model, const std::vector<std::string>& paths,
                        bool hidden, const Ranks* ranks, Embeddings& out) {
  std::vector<at::Tensor> vectors, states;
  Failures failures;
  for_own_batches(ranks, "pictures", paths.size(), kAtOnce,
                  [&](std::size_t begin, std::size_t count) {
                    const auto some = std::span(paths).subspan(begin, count);
                    const ReadPictures read = model.images().encode_readable(some);
                    failures.insert(failures.end(), read.failures.begin(), read.failures.end());
                    if (read.good.empty()) return;
                    const ImageKeysValues images = model.project_images(read.features);
                    if (hidden) states.push_back(model.hidden_images(images));
                    vectors.push_back(model.embed_images(images));
                  });
  out.tensors.emplace_back("image_embeds", collect_rows(ranks, vectors));
  if (hidden) out.tensors.emplace_back("image_hidden", collect_rows(ranks, states));
  return failures;
}

void embed_lines(const RetrievalModel& model, const std::vector<std::string>& lines, bool hidden,
                 const Ranks* ranks, Embeddings& out) {
  std::vector<at::Tensor> vectors, states, lengths;
  for_own_batches(ranks, "texts", lines.size(), kAtOnce, [&](std::size_t begin, std::size_t count) {
    const TextRows rows = model.tokenize(std::span(lines).subspan(begin, count));
    vectors.push_back(model.embed_texts(rows));
    if (!hidden) return;
    lengths.push_back(at::tensor(rows.lengths, at::kLong));
    states.push_back(model.hidden_texts(rows));
  });
  out.tensors.emplace_back("text_embeds", collect_rows(ranks, vectors));
  if (!hidden) return;
  const at::Tensor all = collect_rows(ranks, states), sizes = collect_rows(ranks, lengths);
  if (!is_main_process(ranks)) return;
  const auto* first = sizes.const_data_ptr<std::int64_t>();
  out.tensors.emplace_back("text_hidden",
                           pad_rows(all, {first, first + sizes.numel()}).contiguous());
  out.tensors.emplace_back("text_lengths", sizes);
}

// Embeds picture i with text i; texts of unreadable pictures are left out with them.
Failures embed_pairs(const RetrievalModel& model, const std::vector<std::string>& paths,
                     const std::vector<std::string>& lines, const Ranks* ranks, Embeddings& out) {
  if (paths.size() != lines.size()) {
    throw Error(fmt::format("expected a text for each picture, got {} pictures and {} texts",
                            paths.size(), lines.size()),
                "embed --mode multimodal");
  }
  std::vector<at::Tensor> states;
  Failures failures;
  for_own_batches(ranks, "pairs", paths.size(), kAtOnce, [&](std::size_t begin, std::size_t count) {
    const ReadPictures read =
        model.images().encode_readable(std::span(paths).subspan(begin, count));
    failures.insert(failures.end(), read.failures.begin(), read.failures.end());
    if (read.good.empty()) return;
    Pairs pairs;
    std::vector<std::string> texts;
    for (const std::size_t place : read.good) {
      pairs.images.push_back(std::ssize(texts));
      pairs.texts.push_back(std::ssize(texts));
      texts.push_back(lines[begin + place]);
    }
    states.push_back(
        model.hidden_pairs(model.project_images(read.features), model.tokenize(texts), pairs));
  });
  out.tensors.emplace_back("multimodal_embeds", collect_rows(ranks, states));
  return failures;
}

// Names bad pictures and removes them from `paths`, and their texts from `texts` if it is given.
void drop_bad(const Failures& failures, std::vector<std::string>& paths,
              std::vector<std::string>* texts, BadItems& bad) {
  std::vector<std::string> good_paths, good_texts;
  for (std::size_t i = 0; i < failures.size(); ++i) {
    if (!failures[i].empty()) {
      bad.add(paths[i], failures[i]);
      continue;
    }
    good_paths.push_back(paths[i]);
    if (texts) good_texts.push_back((*texts)[i]);
  }
  paths = std::move(good_paths);
  if (texts) *texts = std::move(good_texts);
}

// Names need not be UTF-8.
std::string as_json(const std::vector<std::string>& texts) {
  return nlohmann::json(texts).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

void write_embeddings(const std::string& path, const Embeddings& embeddings) {
  std::vector<TensorView> views;
  for (const auto& [name, tensor] : embeddings.tensors) views.push_back(view_of(name, tensor));
  write_safetensors(path, views, embeddings.metadata);
}

// The pictures and texts that the mode needs.
struct Inputs {
  std::vector<std::string> paths, lines;
};

Inputs inputs_of(const EmbedOptions& options) {
  const bool images = !options.inputs.images.empty() || !options.inputs.list.empty();
  const bool pairs = options.mode == "multimodal", texts = !options.texts.empty();
  const auto need = [](bool given, const char* what) {
    if (!given) throw CLI::ValidationError("embed", std::string("expected ") + what);
  };
  if (options.mode == "image" || pairs) need(images, "pictures");
  if (options.mode == "text" || pairs) need(texts, "--texts");
  need(images || texts, "pictures or --texts");
  Inputs inputs;
  if (images && options.mode != "text") inputs.paths = image_paths(options.inputs);
  if (!texts || options.mode == "image") return inputs;
  inputs.lines = read_lines(options.texts);
  if (inputs.lines.empty()) throw Error("expected a text a line, got none", options.texts);
  return inputs;
}

void embed(const EmbedOptions& options) {
  apply_threads(options.run.threads);
  auto [paths, lines] = inputs_of(options);
  require_place(options.output);
  const auto joined = join_ranks(options.timeout);
  const Ranks* ranks = joined.get();
  const at::InferenceMode inference;
  const RetrievalModel model(options.run.model, options.run.precision, bridge_type(options.run),
                             options.run.pictures);
  require_same(ranks, "pictures and texts", fmt::format("{} and {}", paths.size(), lines.size()));
  const bool pairs = options.mode == "multimodal";
  Embeddings out;
  Failures failures;
  if (pairs) {
    failures = embed_pairs(model, paths, lines, ranks, out);
  } else if (!paths.empty()) {
    failures = embed_pictures(model, paths, options.mode == "image", ranks, out);
  }
  if (!pairs && !lines.empty()) embed_lines(model, lines, options.mode == "text", ranks, out);
  failures = collect_texts(ranks, std::move(failures));
  if (!is_main_process(ranks)) return;
  BadItems bad(/*json=*/false, options.inputs.bad_share);
  const std::size_t pictures = paths.size();
  drop_bad(failures, paths, pairs ? &lines : nullptr, bad);
  bad.check(pictures);
  if (!paths.empty()) out.metadata["images"] = as_json(paths);
  if (!lines.empty()) out.metadata["texts"] = as_json(lines);
  write_embeddings(options.output, out);
  bad.finish(pictures);
}

}  // namespace

void add_embed(CLI::App& app) {
  auto* verb = app.add_subcommand("embed", "Write the vectors of pictures and texts");
  auto options = std::make_shared<EmbedOptions>();
  add_run_options(*verb, options->run);
  add_image_inputs(*verb, options->inputs);
  verb->add_option("--texts", options->texts, "File with one text in each line");
  verb->add_option("--output", options->output,
                   "File.safetensors to write: image_embeds [N, Q, E], text_embeds [M, E]")
      ->required()
      ->check(refuse_empty);
  verb->add_option(
          "--mode", options->mode,
          "vectors: unit vectors of the pictures and texts given; image, text, multimodal: "
          "hidden states too")
      ->check(CLI::IsMember({"vectors", "image", "text", "multimodal"}))
      ->capture_default_str();
  add_timeout(*verb, options->timeout);
  verb->footer(
      "Contrast compares unit vectors: image_embeds [N, Q, E] of every query, text_embeds [M, E]\n"
      "of the first token; a picture's similarity to a text is the similarity of its best query.\n"
      "The other modes are those of LAVIS's extract_features; its names stand in brackets:\n"
      "  image       image_hidden [N, Q, D] (image_embeds) and image_embeds (image_embeds_proj)\n"
      "  text        text_hidden [M, T, D] (text_embeds), zeros after text_lengths [M] tokens, "
      "and\n"
      "              text_embeds (text_embeds_proj[:, 0])\n"
      "  multimodal  multimodal_embeds [N, Q, D]: the queries given picture i and text i");
  verb->callback([options] { embed(*options); });
}

}  // namespace blip2
