#pragma once

#include <stdexcept>
#include <string>

namespace blip2 {

// The one exception of the library: what went wrong (expected, got), where (file, offset, tensor,
// record) and what to do about it. The program turns it into an exit code once, at the edge. what()
// reads "where: message; hint". Const functions may run on several threads at once.
class Error : public std::runtime_error {
 public:
  explicit Error(std::string message, std::string where = {}, std::string hint = {});

  const std::string& message() const { return message_; }
  const std::string& where() const { return where_; }
  const std::string& hint() const { return hint_; }

  // A copy of the error whose place begins with `outer` ("model/config.json: text_config").
  Error within(const std::string& outer) const;

 private:
  std::string message_, where_, hint_;
};

// Throws Error(message, where) unless the condition holds.
void need(bool condition, const std::string& message, const std::string& where);

}  // namespace blip2
