#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "blip2/search/picture_index.h"
#include "blip2/search/sqlite_internal.h"
#include "blip2/search/vector_file_internal.h"

namespace blip2 {

// The key of the index's id among its texts.
inline const std::string kIdKey = "id";

// A file of vectors as a generation names it.
struct IndexPart {
  std::int64_t number = 0;  // of the file
  std::size_t rows = 0;
  VectorSums sums;
  float largest_error = 0;           // of any of its rows
  std::vector<std::uint64_t> alive;  // a bit for each row: it is a picture of this generation

  std::size_t alive_rows() const;
  bool is_alive(std::size_t row) const { return (alive[row / 64] >> (row % 64) & 1) != 0; }
  void bury(std::size_t row) { alive[row / 64] &= ~(std::uint64_t{1} << (row % 64)); }
};
// Bits for `rows` rows, all set.
std::vector<std::uint64_t> all_alive(std::size_t rows);

// What the database says of the index as a whole.
struct Generation {
  IndexIdentity identity;
  std::int64_t number = 0, pictures = 0, files = 0, bad_files = 0;
  std::int64_t next_part = 1;          // the number of the next file of vectors
  std::shared_ptr<const Basis> basis;  // of all files of vectors; nullptr while there are none
  std::int64_t fitted_on = 0;          // pictures that there were when the basis was fitted
  std::vector<IndexPart> parts;        // in the order of the pictures' numbers
};

// Whether the database has an index; it has none if it is new, or if its first writer was killed.
// Error if it is somebody else's, or (unless `any_version`) of another version.
bool has_index(SqliteDatabase& database, bool any_version = false);
// Drops whatever tables there are and makes those of an index, with the numbers of pictures going
// on from the old ones. Within a transaction.
void make_tables(SqliteDatabase& database);

// The generation that the connection sees. Error if what it says cannot be.
Generation read_generation(SqliteDatabase& database);
std::int64_t generation_number(SqliteDatabase& database);
// The same for a database of which nothing is known: 0 if it has no generation of this version.
std::int64_t last_generation(SqliteDatabase& database);
// Writes all of it, within a transaction.
void write_generation(SqliteDatabase& database, const Generation& generation);

// The picture's file of vectors; checks that it is the one that the part names.
std::shared_ptr<const VectorFile> open_part(const std::filesystem::path& folder,
                                            const Generation& generation, const IndexPart& part);

}  // namespace blip2
