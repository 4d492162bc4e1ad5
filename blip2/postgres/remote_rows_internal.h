#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "blip2/postgres/connection_internal.h"
#include "blip2/postgres/remote_index.h"

namespace blip2 {

// A row of the table of pictures.
struct RemoteKey {
  std::int64_t source = 0, number = 0, checksum = 0;

  auto operator<=>(const RemoteKey&) const = default;
};

// Rows whose codes have one basis; heads [n], and bodies [n] or none.
struct RemoteCodes {
  std::vector<RemoteKey> keys;
  std::vector<ContentHash> contents;
  std::vector<std::byte> heads, bodies;
};
using CodesByBasis = std::map<std::int64_t, RemoteCodes>;

// What a transaction sees of the tables. For one thread at a time.
class RemoteRows {
 public:
  RemoteRows(PostgresConnection& connection, VectorShape shape);

  // Error if there is no basis of this number.
  const Basis& basis(std::int64_t id) const;
  // Heads of all pictures that pass the filter.
  CodesByBasis heads(const PictureFilter& filter);
  // The pictures whose centroids have the largest products with `vector` [E], with heads and
  // bodies.
  CodesByBasis nearest(std::span<const float> vector, const PictureFilter& filter,
                       std::size_t most);
  // Bodies in the order of the keys: [n].
  std::vector<std::byte> bodies(std::span<const RemoteKey> keys);
  // Fills in facts and files of pictures, in the order of the keys.
  void describe(std::span<const RemoteKey> keys, std::span<RemoteHit> hits);

 private:
  void add(const PostgresResult& rows, std::size_t row, bool with_body, CodesByBasis& codes) const;
  void add_files(std::span<const RemoteKey> keys, std::span<RemoteHit> hits);

  PostgresConnection& connection_;
  CodeSizes sizes_;
  std::vector<std::int64_t> pending_;  // copies that are not complete
  std::map<std::int64_t, Basis> bases_;
};

}  // namespace blip2
