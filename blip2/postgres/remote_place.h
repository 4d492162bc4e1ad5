#pragma once

#include <string>

namespace blip2 {

// Where indexes lie in Postgres.
struct RemotePlace {
  std::string url;  // postgresql://…, as libpq reads it; no message shows its password
  std::string schema = "blip2";  // Postgres' schema that holds the tables
};

// Whether a text is a URL of Postgres rather than a folder.
bool names_postgres(const std::string& text);

// Error unless `url` can be read without doubt: libpq takes parts of a password for a server's name
// if the password has unescaped special characters. The message shows nothing of the URL.
void check_postgres_url(const std::string& url);

}  // namespace blip2
