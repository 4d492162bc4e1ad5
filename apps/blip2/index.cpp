#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "apps/blip2/index_targets.h"
#include "apps/blip2/model_flag.h"
#include "apps/blip2/options.h"
#include "apps/blip2/verbs.h"
#include "blip2/base/error.h"
#include "blip2/base/log.h"
#include "blip2/indexing/folder_watch.h"
#include "blip2/indexing/index_update.h"
#include "blip2/processes/rank_work.h"
#include "blip2/processes/ranks.h"

namespace blip2 {
namespace {

using std::chrono::milliseconds;

// How long the folders have to be quiet before they are read, and how long nobody looks at them if
// there are no events, while a folder is missing and otherwise.
constexpr milliseconds kQuiet{700}, kWhileMissing{30'000}, kWithoutEvents{600'000};

struct IndexVerbOptions {
  RunOptions run;
  IndexOptions index;
  IndexTargets targets;
  bool watch = false;
  std::chrono::seconds timeout{600};
};

void print_counts(const IndexCounts& counts, bool captions, bool json) {
  nlohmann::ordered_json object{{"added", counts.added},     {"changed", counts.changed},
                                {"removed", counts.removed}, {"kept", counts.kept},
                                {"bad", counts.bad},         {"pictures", counts.pictures},
                                {"encoded", counts.encoded}};
  if (captions) object["captioned"] = counts.captioned;
  if (json) return print_json(object);
  std::string line;
  for (const auto& [key, value] : object.items()) {
    line += fmt::format("{}{} {}", line.empty() ? "" : ", ", key, value.dump());
  }
  print_line(line);
  std::fflush(stdout);
}

// Updates the index until nothing has happened in folders that were not watched yet.
IndexCounts update_watched(IndexUpdater& updater, FolderWatch& watch) {
  IndexCounts sum = updater.update();
  while (watch.watch(updater.read_folders())) {
    const IndexCounts more = updater.update();
    sum.added += more.added, sum.changed += more.changed, sum.removed += more.removed;
    sum.encoded += more.encoded, sum.captioned += more.captioned;
    sum.kept = more.kept, sum.bad = more.bad, sum.pictures = more.pictures;
  }
  return sum;
}

// Follows the folders until a signal comes.
void follow(IndexUpdater& updater, const IndexVerbOptions& options) {
  FolderWatch watch;
  for (bool first = true;; first = false) {
    const IndexCounts counts = update_watched(updater, watch);
    if (first || !counts.none_changed()) {
      print_counts(counts, options.index.captions, options.run.json);
    }
    follow_targets(options.index.index, options.targets);
    if (first) log_info("watching {} folders", updater.read_folders().size());
    milliseconds longest = updater.misses_folders() ? kWhileMissing : kWithoutEvents;
    if (updater.young_files() > 0) longest = kQuiet;
    watch.wait(kQuiet, longest);
  }
}

void index(IndexVerbOptions& options) {
  check_targets(options.targets);
  if (options.targets.no_update) return write_targets(options.index.index, options.targets);
  apply_threads(options.run.threads);
  IndexOptions& index = options.index;
  index.model = options.run.model;
  index.precision = options.run.precision;
  index.bridge = bridge_type(options.run);
  index.pictures = options.run.pictures;
  if (options.watch) index.settle = kQuiet;
  const auto ranks = join_ranks(options.timeout);
  if (options.watch && ranks) {
    throw Error("expected one process, got several", "index --watch",
                "index by several processes first, then watch by one");
  }
  IndexUpdater updater(index, ranks.get());
  if (options.watch) return follow(updater, options);
  const IndexCounts counts = updater.update();
  if (!is_main_process(ranks.get())) return;
  print_counts(counts, index.captions, options.run.json);
  write_targets(index.index, options.targets);
}

}  // namespace

void add_index(CLI::App& app) {
  auto* verb = app.add_subcommand("index", "Make an index of folders of pictures, or update it");
  auto options = std::make_shared<IndexVerbOptions>();
  add_run_options(*verb, options->run);
  verb->get_option("--model")->required(false)->description(
      "Model directory with stage-1 heads, or organisation/name[@revision] in the Hugging Face "
      "Hub's local cache; default: the one that the index was made with");
  verb->add_option("INDEX", options->index.index, "Folder of the index")
      ->required()
      ->check(refuse_empty);
  verb->add_option("FOLDER", options->index.folders,
                   "Folders of pictures, beside those that the index follows already");
  verb->add_flag("--watch", options->watch, "Follow the folders until Ctrl-C");
  verb->add_flag("--captions", options->index.captions,
                 "Write captions of pictures that have none; needs a model with a language model");
  verb->add_flag("--rebuild", options->index.rebuild,
                 "Encode all pictures anew, as for another model; captions stay");
  verb->add_flag(
      "--remove-missing", options->index.remove_missing,
      "Remove the pictures of folders that are missing or empty, as those of a disk that "
      "is not there are");
  verb->add_option("--forget", options->index.forget,
                   "Follow this folder no longer and remove its pictures; may come several times")
      ->expected(1)
      ->take_all();
  add_index_targets(*verb, options->targets);
  add_timeout(*verb, options->timeout);
  verb->footer(
      "A second run updates the index: files that have not changed are not read, and contents "
      "that\n"
      "it knows, as of files that were moved or copied, are not encoded. The last line counts "
      "files "
      "(a\n"
      "moved one has changed), and pictures of different content. docs/search.md says what counts "
      "as "
      "a\n"
      "picture and what happens to links, damaged pictures and missing disks.");
  verb->callback([options] { index(*options); });
}

}  // namespace blip2
