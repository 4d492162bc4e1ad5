#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace blip2 {

// A TensorBoard event file (events.out.tfevents.*): the log's numbers as scalars. The file is a
// list of TFRecords, each an Event message of tensorflow/core/util/event.proto.
class EventFile {
 public:
  // Makes a file in `folder` whose name sorts behind the event files that are there. With
  // `resumed_step`, the last step that the run keeps, readers drop the later steps of earlier
  // files.
  EventFile(const std::filesystem::path& folder, std::optional<std::int64_t> resumed_step);

  // Adds the numbers of a line of the log, which has a "step": NAME becomes "train/NAME", and
  // "validation_NAME" becomes "validation/NAME". They are in the file when this returns; Error if
  // they cannot be written.
  void add(const nlohmann::ordered_json& line);

  const std::filesystem::path& path() const { return path_; }

 private:
  void write(std::string_view event);
  std::filesystem::path path_;
  std::ofstream file_;
};

// CRC-32C (Castagnoli), and its masked form, which TFRecords store.
std::uint32_t crc32c(std::string_view bytes);
std::uint32_t masked_crc32c(std::string_view bytes);

}  // namespace blip2
