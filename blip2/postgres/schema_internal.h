#pragma once

#include <string>

#include "blip2/postgres/connection_internal.h"
#include "blip2/search/picture_index.h"

namespace blip2 {

// The tables of indexes in Postgres. docs/search.md shows them.
inline constexpr const char* kRemoteFormat = "1";

// Makes the schema and its tables if they are not there, and sets the connection to them. Error if
// the database lacks pgvector, or the schema is of another format, of another model, or somebody
// else's. Several writers may call it at once.
void make_remote_schema(PostgresConnection& connection, const std::string& schema,
                        const IndexIdentity& identity);

// Sets the connection to a schema that is there; what its indexes are bound to.
IndexIdentity use_remote_schema(PostgresConnection& connection, const std::string& schema);

// Makes the part of the table of pictures that holds those of a source.
void make_picture_part(PostgresConnection& connection, std::int64_t source);
// Builds HNSW over the part's centroids unless it is there.
void make_centroid_index(PostgresConnection& connection, std::int64_t source, std::int64_t width);

}  // namespace blip2
