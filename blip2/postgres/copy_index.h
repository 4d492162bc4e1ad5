#pragma once

#include <cstdint>
#include <filesystem>

#include "blip2/postgres/remote_place.h"

namespace blip2 {

// What a copy wrote.
struct CopyReport {
  std::int64_t added = 0, removed = 0;   // pictures; one that changed counts as both
  std::int64_t pictures = 0, files = 0;  // there now
  bool unchanged = false;                // the generation was there already: nothing was written
};

// Copies the current generation of an index into Postgres with pgvector, or what has changed since
// the last copy. The schema may hold copies of many indexes of one model, which may be written at
// the same time; a second copy of the same index waits for the first. Readers see the last whole
// generation until the new one is complete. A copy that is stopped or killed is taken up by the
// next one. Error if the index cannot be read, the server goes away, or the schema is of another
// model; Interrupted after a signal.
CopyReport copy_to_postgres(const std::filesystem::path& index, const RemotePlace& place);

}  // namespace blip2
