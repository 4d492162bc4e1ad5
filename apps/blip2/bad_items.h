#pragma once

#include <CLI/CLI.hpp>
#include <cstddef>
#include <optional>
#include <string>

namespace blip2 {

// --bad-share: how many bad pictures or records are allowed. Without it the good ones are answered
// and one bad one makes the program fail in the end.
void add_bad_share(CLI::App& verb, std::optional<double>& share);

// The pictures and records of a verb's call that cannot be answered. Each is named immediately: on
// standard error, and with --json as an object with "error" in its place.
class BadItems {
 public:
  BadItems(bool json, std::optional<double> share) : json_(json), share_(share) {}

  // `image`: as it was given; null in JSON if it is empty. `what`: the reason with its place.
  void add(const std::string& image, const std::string& what);
  std::size_t count() const { return count_; }

  // Error if all of `total` are bad, or more than --bad-share allows.
  void check(std::size_t total) const;
  // Does the check at the end of all work; without --bad-share already one bad item is an Error.
  void finish(std::size_t total) const;

 private:
  bool json_;
  std::optional<double> share_;
  std::size_t count_ = 0;
};

}  // namespace blip2
