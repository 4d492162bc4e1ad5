#pragma once

#include <cstdint>
#include <filesystem>
#include <set>

namespace blip2 {

// What lies in an index's folder beside its database.

inline constexpr const char* kDatabaseName = "index.db";
inline constexpr const char* kLockName = "writer.lock";

// Error if a folder that is to become an index holds anything that no index leaves behind.
void require_no_other_files(const std::filesystem::path& folder);
// The largest number of a file of vectors; 0 if there is none.
std::int64_t last_vector_file(const std::filesystem::path& folder);
// Deletes the files of vectors that are not in `named`, and what killed writers have left half
// written. What cannot be deleted stays for the next time.
void delete_other_vectors(const std::filesystem::path& folder, const std::set<std::int64_t>& named);

}  // namespace blip2
