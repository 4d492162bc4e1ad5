#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>

#include "apps/blip2/generation_flags.h"
#include "apps/blip2/options.h"
#include "apps/blip2/verbs.h"
#include "blip2/base/rank_place.h"
#include "blip2/capfilt/filter_run.h"
#include "blip2/io/utf8.h"

namespace blip2 {
namespace {

struct CapfiltOptions {
  RunOptions run;
  FilterRunOptions filter;
  std::string matcher, rank = "itc", format = "jsonl", process;
  std::optional<double> min_score;
};

std::optional<std::size_t> whole_number(std::string_view text) {
  std::size_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return {};
  return number;
}

// Reads "I/N" into the options. Returns what is wrong with the text, "" if nothing is.
std::string read_process(const std::string& text, FilterRunOptions& options) {
  const std::size_t slash = std::min(text.find('/'), text.size());
  const auto process = whole_number(std::string_view(text).substr(0, slash));
  const auto processes =
      whole_number(std::string_view(text).substr(std::min(slash + 1, text.size())));
  if (!process || !processes || *process >= *processes) {
    return fmt::format("expected I/N with I from 0 to N - 1, got '{}'", printable(text));
  }
  options.process = *process;
  options.processes = *processes;
  return "";
}

void print_result(const FilterRunResult& result, bool json) {
  const nlohmann::ordered_json object{{"shards", result.shards},
                                      {"pictures", result.pictures},
                                      {"bad", result.bad},
                                      {"captioned", result.captioned},
                                      {"generated", result.generated},
                                      {"originals", result.originals},
                                      {"kept", result.kept},
                                      {"originals_kept", result.originals_kept}};
  if (json) return print_json(object);
  for (const auto& [key, value] : object.items()) {
    print_line(fmt::format("{:<14} {}", key, value.dump()));
  }
}

void capfilt(CapfiltOptions& options) {
  FilterRunOptions& run = options.filter;
  CaptionFilterOptions& filter = run.filter;
  if (options.process.empty()) {
    const RankPlace place = rank_from_environment();
    run.process = static_cast<std::size_t>(place.rank);
    run.processes = static_cast<std::size_t>(place.size);
  }
  filter.captioner = options.run.model;
  filter.matcher = options.matcher.empty() ? options.run.model : options.matcher;
  filter.precision = options.run.precision;
  filter.pictures = options.run.pictures;
  filter.bridge = bridge_type(options.run);
  filter.rank = caption_rank_of(options.rank);
  if (options.min_score) filter.min_score = *options.min_score;
  filter.generate = filter.generation.return_sequences > 0;
  run.tar = options.format == "tar";
  apply_threads(options.run.threads);
  print_result(run_caption_filter(run), options.run.json);
}

// Applies the model's defaults as settle_generation does, but the verb decides whether captions are
// drawn, and the numbers of beams and captions.
void apply_model_defaults(const CLI::App& verb, const std::string& model,
                          GenerationOptions& options) {
  if (options.beams > 1 && verb.count("--sample") == 0) options.sample = false;
  const GenerationOptions drawn = options;
  options.return_sequences = 1;
  settle_generation(verb, model, options);
  options.sample = drawn.sample;
  options.beams = drawn.beams;
  options.return_sequences = drawn.return_sequences;
}

void add_filter_flags(CLI::App& verb, CapfiltOptions& options) {
  CaptionFilterOptions& filter = options.filter.filter;
  verb.add_option("--captions", filter.generation.return_sequences,
                  "Captions to generate for each picture; 0: rank only its own")
      ->check(CLI::Range(0, 1000))
      ->capture_default_str();
  verb.add_option("--prompt", filter.prompt, "Text before a caption; default: the model's prompt");
  verb.add_option("--matcher", options.matcher,
                  "Model directory that ranks; default: the stage-1 model of --model");
  verb.add_option("--rank", options.rank,
                  "Score for ranking: itc (cosine), itm (probability of a match), or their sum")
      ->check(CLI::IsMember({"itc", "itm", "sum"}))
      ->capture_default_str();
  verb.add_option("--keep", filter.keep, "Number of best captions to keep for each picture; 0: all")
      ->check(CLI::Range(0, 1'000'000))
      ->capture_default_str();
  verb.add_option("--min-score", options.min_score, "Keep no caption with a lower score");
}

void add_shard_flags(CLI::App& verb, CapfiltOptions& options) {
  FilterRunOptions& run = options.filter;
  verb.add_option("--data", run.data, "Pictures and their captions: any data source")->required();
  verb.add_option("--output", run.output, "Folder of the shards")->required()->check(refuse_empty);
  verb.add_option("--format", options.format,
                  "jsonl: records that name the pictures; tar: WebDataset shards with the pictures")
      ->check(CLI::IsMember({"jsonl", "tar"}))
      ->capture_default_str();
  verb.add_option("--shard-size", run.shard_size, "Number of the source's pictures in a shard")
      ->check(CLI::Range(1, 10'000'000))
      ->capture_default_str();
  verb.add_option("--process", options.process,
                  "I/N: compute every Nth shard from the Ith on (0 is the first); default: as "
                  "torchrun, mpirun or srun say")
      ->check([&run](const std::string& text) { return read_process(text, run); });
  verb.add_flag("--resume", run.resume, "Keep the shards that are finished");
  verb.add_option("--bad-share", run.bad_share,
                  "Largest share of bad pictures; with more the run stops")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  verb.add_option("--batch-size", run.batch_size, "Pictures at a time")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
}

}  // namespace

void add_capfilt(CLI::App& app) {
  auto* verb = app.add_subcommand("capfilt", "Caption pictures and keep the captions that fit");
  auto options = std::make_shared<CapfiltOptions>();
  GenerationOptions& generation = options->filter.filter.generation;
  // BLIP's nucleus sampling (arXiv 2201.12086, section 3.3 and its released code).
  generation.sample = true;
  generation.top_p = 0.9;
  generation.max_new_tokens = 20;
  add_run_options(*verb, options->run);
  add_generation_flags(*verb, generation);
  verb->remove_option(verb->get_option("--return-sequences"));
  generation.return_sequences = 10;
  add_filter_flags(*verb, *options);
  add_shard_flags(*verb, *options);
  verb->footer(
      "Captions are drawn by nucleus sampling; with --beams B beam search finds them instead "
      "(with\n"
      "--sample as well, the search draws). Each picture has a seed of its own, made from --seed "
      "and\n"
      "its content. docs/capfilt.md describes the files written.");
  verb->callback([options, verb] {
    apply_model_defaults(*verb, options->run.model, options->filter.filter.generation);
    const GenerationOptions& chosen = options->filter.filter.generation;
    if (chosen.return_sequences > 0) {
      const bool draws = chosen.sample && chosen.beams == 1;
      if (!draws && chosen.return_sequences > chosen.beams) {
        throw CLI::ValidationError("--captions",
                                   "expected at most as many as --beams, unless "
                                   "captions are drawn (--sample) with one beam");
      }
      validate(chosen);
    }
    capfilt(*options);
  });
}

}  // namespace blip2
