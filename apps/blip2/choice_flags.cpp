#include "apps/blip2/choice_flags.h"

#include <fmt/format.h>

#include "blip2/data/name_list.h"

namespace blip2 {

void add_choice_flags(CLI::App& verb, ChoiceFlags& flags) {
  auto* choose =
      verb.add_option("--choose", flags.choose,
                      "match: rank the texts of --candidates and --names by contrast and matching "
                      "with the model's stage-1 part, and take the best")
          ->check(CLI::IsMember({"match"}));
  verb.add_option("--candidates", flags.candidates,
                  "Number of texts to generate for each picture, among which to choose; --beams is "
                  "raised to it, or with --sample that many texts are drawn")
      ->needs(choose)
      ->check(CLI::Range(1, 1024))
      ->excludes(verb.get_option("--return-sequences"));
  verb.add_option("--names", flags.names, "File with a name a line: candidates for every picture")
      ->needs(choose);
}

void add_ranking_flags(CLI::App& verb, LabelOptions& ranking) {
  verb.add_option("--rerank", ranking.rerank,
                  "Number of best names by contrast that matching re-ranks")
      ->check(CLI::Range(0, 1000000))
      ->capture_default_str();
  verb.add_option("--matching-weight", ranking.matching_weight,
                  "Weight of matching beside contrast, for names")
      ->check(CLI::Range(0.0, 1000.0))
      ->capture_default_str();
}

CaptionChoiceOptions choice_options(const CLI::App& verb, const RunOptions& run,
                                    const ChoiceFlags& flags, const LabelOptions& ranking,
                                    GenerationOptions generation) {
  if (flags.candidates == 0 && flags.names.empty()) {
    throw CLI::ValidationError("--choose", "expected --candidates, --names, or both beside it");
  }
  CaptionChoiceOptions options;
  options.model = run.model;
  options.precision = run.precision;
  options.bridge = bridge_type(run);
  options.pictures = run.pictures;
  if (!flags.names.empty()) options.names = read_names(flags.names);
  options.ranking = ranking;
  options.generate = flags.candidates > 0;
  if (!options.generate) return options;
  generation.return_sequences = flags.candidates;
  const bool draws = generation.sample && generation.beams == 1;
  if (!draws && generation.beams < flags.candidates) {
    if (verb.count("--beams") > 0) {
      throw CLI::ValidationError(
          "--beams", fmt::format("expected at least {} beams for as many candidates, got {}: leave "
                                 "it out, or sample",
                                 flags.candidates, generation.beams));
    }
    generation.beams = flags.candidates;
  }
  options.generation = generation;
  return options;
}

}  // namespace blip2
