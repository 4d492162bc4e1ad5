#include "blip2/data/sidecar_internal.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "blip2/data/record_fields_internal.h"
#include "blip2/io/utf8.h"

namespace blip2 {

void read_sidecar(Record& record, std::string_view extension, std::string_view content,
                  RecordUse use, const std::string& column) {
  if (content.size() > kRecordLimits.bytes) {
    refuse(fmt::format("expected a text of at most {} bytes, got {}", kRecordLimits.bytes,
                       content.size()));
  }
  content = without_byte_order_mark(content, "");
  if (extension == ".json") {
    const nlohmann::json object = parse_json(content, {}, kRecordLimits);
    if (!object.is_object()) refuse("expected an object with a caption, got " + shown(object));
    record.image_id = image_id_of(object, record.image_id);
    return read_texts(record, object, use, column);
  }
  if (!is_utf8(content)) refuse("the text is not UTF-8");
  if (content.find('\0') != content.npos) refuse("the text holds zero bytes, as UTF-16 does");
  const std::string_view caption = trim(content);
  if (caption.empty() && use != RecordUse::pictures) refuse("the text is empty");
  if (!caption.empty()) record.captions = {std::string(caption)};
}

}  // namespace blip2
