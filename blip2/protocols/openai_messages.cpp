#include <fmt/format.h>

#include <algorithm>

#include "blip2/io/utf8.h"
#include "blip2/protocols/openai_members_internal.h"
#include "blip2/protocols/openai_messages_internal.h"
#include "blip2/protocols/parts_internal.h"
#include "blip2/protocols/settings_internal.h"

namespace blip2 {
namespace {

using nlohmann::json;

Turn read_message(const json& value, const std::string& path, PartReader& reader) {
  const Members message(value, path);
  Turn turn{read_role(message), {}};
  check_members(message, kMessageMembers);
  const json& content = message.need("content", "a string or a list of parts");
  turn.parts = reader.content(content, message.path_of("content"));
  const bool picture = std::any_of(turn.parts.begin(), turn.parts.end(),
                                   [](const Part& part) { return part.picture.has_value(); });
  if (picture && turn.role != "user") {
    refuse(message.path_of("content"),
           fmt::format("a message of the {} may not have pictures", turn.role),
           "unsupported_content");
  }
  return turn;
}

}  // namespace

std::string read_role(const Members& message) {
  const std::string path = message.path_of("role");
  const std::string& role = text_value_at(message.need("role", "a string"), path);
  if (role == "developer") return "system";
  if (role == "system" || role == "user" || role == "assistant") return role;
  const bool tool = role == "tool" || role == "function";
  refuse(path,
         tool ? fmt::format("this server has no tools, got a message of the role \"{}\"", role)
              : fmt::format("expected system, user or assistant, got \"{}\"", printable(role, 40)));
}

const json& message_list(const Members& request, const RequestLimits& limits) {
  const std::string path = request.path_of("messages");
  const json& messages = request.need("messages", "a list of messages");
  if (!messages.is_array()) refuse_type(path, "a list of messages", messages);
  if (messages.size() > limits.max_turns) {
    refuse(path,
           fmt::format("expected at most {} messages, got {}", limits.max_turns, messages.size()));
  }
  return messages;
}

std::vector<Turn> read_openai_messages(const Members& request, const RequestLimits& limits) {
  const json& messages = message_list(request, limits);
  const std::string path = request.path_of("messages");
  if (messages.empty()) refuse(path, "expected at least one message, got an empty list");
  PartReader reader(limits, limits.pictures.most);
  std::vector<Turn> turns;
  for (std::size_t i = 0; i < messages.size(); ++i) {
    turns.push_back(read_message(messages[i], fmt::format("{}[{}]", path, i), reader));
  }
  check_turns(turns, path);
  return turns;
}

}  // namespace blip2
