#include "blip2/base/error.h"

#include <utility>

namespace blip2 {
namespace {

std::string compose(const std::string& message, const std::string& where, const std::string& hint) {
  std::string text = where.empty() ? message : where + ": " + message;
  return hint.empty() ? text : text + "; " + hint;
}

}  // namespace

Error::Error(std::string message, std::string where, std::string hint)
    : std::runtime_error(compose(message, where, hint)),
      message_(std::move(message)),
      where_(std::move(where)),
      hint_(std::move(hint)) {}

Error Error::within(const std::string& outer) const {
  return Error(message_, where_.empty() ? outer : outer + ": " + where_, hint_);
}

void need(bool condition, const std::string& message, const std::string& where) {
  if (!condition) throw Error(message, where);
}

}  // namespace blip2
