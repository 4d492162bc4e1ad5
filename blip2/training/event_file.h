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

// A TensorBoard event file (events.out.tfevents.*): the log's numbers as scalars. A file of
// TFRecords, each an Event message of tensorflow/core/util/event.proto.
class EventFile {
 public:
  // Makes a file in `folder` that sorts behind those that are there. With `resumed_step`, the last
  // step that the run keeps, readers drop what earlier files hold of later steps.
  EventFile(const std::filesystem::path& folder, std::optional<std::int64_t> resumed_step);

  // The numbers of a line of the log, which has a "step": under "train/NAME", and
  // "validation_NAME" under "validation/NAME". They are in the file when this returns; Error if
  // they cannot be written.
  void add(const nlohmann::ordered_json& line);

  const std::filesystem::path& path() const { return path_; }

 private:
  void write(std::string_view event);
  std::filesystem::path path_;
  std::ofstream file_;
};

// CRC-32C (Castagnoli), and as TFRecords store it.
std::uint32_t crc32c(std::string_view bytes);
std::uint32_t masked_crc32c(std::string_view bytes);

}  // namespace blip2
