#include "blip2/search/duplicates.h"

#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "apps/blip2/output.h"
#include "apps/blip2/verbs.h"
#include "blip2/base/interrupt.h"
#include "blip2/base/progress.h"

namespace blip2 {
namespace {

struct DuplicatesOptions {
  std::string index;
  std::vector<std::string> kinds;
  std::optional<float> threshold;
  std::size_t threads = 0;
  bool json = false;
};

DuplicateOptions search_options(const DuplicatesOptions& given) {
  DuplicateOptions options;
  options.threads = given.threads > 0
                        ? given.threads
                        : std::max<std::size_t>(1, std::thread::hardware_concurrency());
  if (given.kinds.empty()) return options;
  const auto asked = [&](const char* kind) {
    return std::find(given.kinds.begin(), given.kinds.end(), kind) != given.kinds.end();
  };
  options.exact = asked("exact");
  if (!asked("near")) options.near.reset();
  if (!asked("alike")) options.alike.reset();
  if (given.threshold && options.near) options.near = given.threshold;
  if (given.threshold && options.alike) options.alike = given.threshold;
  return options;
}

void print_group(std::int64_t number, const DuplicateGroup& group, bool json) {
  if (json) {
    return print_json({{"group", number},
                       {"kind", name_of(group.kind)},
                       {"paths", group.paths},
                       {"best", group.paths.front()}});
  }
  for (const std::string& path : group.paths) {
    const bool best = &path == &group.paths.front();
    print_row({fmt::format("{}", number), name_of(group.kind), best ? "best" : "", path});
  }
}

void duplicates(const DuplicatesOptions& given) {
  const auto index = PictureIndex::open(given.index);
  DuplicateOptions options = search_options(given);
  std::optional<Progress> progress;
  options.progress = [&](std::int64_t done) {
    if (interrupted()) throw Interrupted{};
    const int passes = options.near.has_value() + options.alike.has_value();
    if (!progress) progress.emplace("pictures", passes * index->pictures());
    progress->update(done);
  };
  const std::vector<DuplicateGroup> groups = find_duplicates(*index, options);
  if (progress) progress->finish();
  std::int64_t number = 0;
  for (const DuplicateGroup& group : groups) print_group(++number, group, given.json);
}

void check_threshold(const DuplicatesOptions& options) {
  if (!options.threshold) return;
  if (options.kinds.size() == 1 && options.kinds.front() != "exact") return;
  throw CLI::ValidationError("--threshold", "expected --kind near or --kind alike with it");
}

}  // namespace

void add_duplicates(CLI::App& app) {
  auto* verb = app.add_subcommand("duplicates", "Find pictures that an index has more than once");
  auto options = std::make_shared<DuplicatesOptions>();
  verb->add_option("INDEX", options->index, "Folder that blip2 index has made")->required();
  verb->add_option("--kind", options->kinds,
                   "exact: files of one content; near: one picture in other sizes, qualities and "
                   "formats; alike: pictures that show nearly the same; default: all three")
      ->check(CLI::IsMember({"exact", "near", "alike"}))
      ->expected(1)
      ->take_all();
  verb->add_option("--threshold", options->threshold,
                   fmt::format("Least mean cosine of two pictures' vectors; default: {} for near, "
                               "{} for alike",
                               kNearThreshold, kAlikeThreshold))
      ->check(CLI::Range(0.5, 1.0));
  verb->add_option("--threads", options->threads, "Number of threads; 0: one for each core")
      ->check(CLI::Range(0, 1024));
  add_json_flag(*verb, options->json);
  verb->footer(
      "Prints a line for each file: the number of its group, the kind, \"best\" for the one to "
      "keep "
      "and\n"
      "its path. The best one has the most pixels; of several it is the largest file, then the "
      "oldest.\n"
      "Needs no model. docs/search.md says how thresholds were chosen.");
  verb->callback([options] {
    check_threshold(*options);
    duplicates(*options);
  });
}

}  // namespace blip2
