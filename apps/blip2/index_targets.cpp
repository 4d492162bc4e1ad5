#include "apps/blip2/index_targets.h"

#include <filesystem>

#include "apps/blip2/options.h"
#include "blip2/base/error.h"
#include "blip2/base/log.h"
#include "blip2/postgres/copy_index.h"
#include "blip2/postgres/remote_place.h"
#include "blip2/search/clip_retrieval_layout.h"
#include "blip2/search/picture_index.h"

namespace blip2 {
namespace {

std::string refuse_filled(const std::string& folder) {
  std::error_code error;
  if (folder.empty()) return "expected a folder";
  if (!std::filesystem::exists(folder, error)) return {};
  return std::filesystem::is_empty(folder, error) ? "" : "expected an empty folder or none";
}

void copy_to_place(const std::string& index, const IndexTargets& targets) {
  const CopyReport report = copy_to_postgres(index, {targets.postgres, targets.schema});
  if (report.unchanged)
    return log_info("Postgres has this generation: {} pictures", report.pictures);
  log_info("copied into Postgres: {} pictures added, {} removed, {} there", report.added,
           report.removed, report.pictures);
}

}  // namespace

void add_index_targets(CLI::App& verb, IndexTargets& targets) {
  targets.schema = RemotePlace().schema;
  auto* to =
      verb.add_option("--to", targets.postgres,
                      "Also copy the index, or what has changed, into Postgres with pgvector: "
                      "postgresql://USER@SERVER/DATABASE");
  verb.add_option("--schema", targets.schema, "Schema of Postgres for --to")
      ->capture_default_str()
      ->needs(to)
      ->check(refuse_empty);
  auto* folder =
      verb.add_option("--export", targets.folder,
                      "Also write one vector a picture and what is known of it into this "
                      "new folder, in the layout of clip-retrieval");
  folder->check(refuse_filled);
  verb.add_flag("--export-all-vectors", targets.with_queries,
                "With --export: write all vectors of each picture, too")
      ->needs(folder);
  verb.add_flag("--no-update", targets.no_update,
                "With --to or --export: leave the index as it is; needs no model");
}

void check_targets(const IndexTargets& targets) {
  if (!targets.postgres.empty()) check_postgres_url(targets.postgres);
  if (targets.no_update && !targets.any())
    throw CLI::ValidationError("--no-update", "expected --to or --export beside it");
}

void write_targets(const std::string& index, const IndexTargets& targets) {
  if (!targets.postgres.empty()) copy_to_place(index, targets);
  if (targets.folder.empty()) return;
  const auto pictures =
      write_clip_retrieval_layout(*PictureIndex::open(index), targets.folder, targets.with_queries);
  log_info("{}: {} pictures", targets.folder, pictures);
}

void follow_targets(const std::string& index, const IndexTargets& targets) {
  if (targets.postgres.empty()) return;
  try {
    copy_to_place(index, targets);
  } catch (const Error& error) {
    log_warning("{}", error.what());
  }
}

}  // namespace blip2
