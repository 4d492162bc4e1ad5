#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace blip2 {

// Where `index` puts an index besides its folder.
struct IndexTargets {
  std::string postgres, schema;  // postgresql://…, and the schema there
  std::string folder;            // for clip-retrieval
  bool with_queries = false;     // also all vectors of each picture
  bool no_update = false;        // the index stays as it is

  bool any() const { return !postgres.empty() || !folder.empty(); }
};

// Adds --to, --schema, --export, --export-all-vectors and --no-update.
void add_index_targets(CLI::App& verb, IndexTargets& targets);

// For before the work: Error if the URL cannot be read; wrong usage if there is nothing to do.
void check_targets(const IndexTargets& targets);
// Copies the index into Postgres and writes the files, and says so on standard error.
void write_targets(const std::string& index, const IndexTargets& targets);
// Copies into Postgres alone; a failure is a warning, as the next change tries again.
void follow_targets(const std::string& index, const IndexTargets& targets);

}  // namespace blip2
