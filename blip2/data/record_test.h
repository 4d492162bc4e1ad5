#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "blip2/base/message_of.h"
#include "blip2/data/records.h"
#include "blip2/io/test_files.h"

namespace blip2 {

// For tests: writes data into a temporary folder and reads them, whatever share of the records is
// bad.
class RecordTest : public ::testing::Test {
 protected:
  std::string put(const std::string& name, const std::string& text) {
    std::filesystem::create_directories((folder_ / name).parent_path());
    std::ofstream(folder_ / name, std::ios::binary) << text;
    return (folder_ / name).string();
  }
  RecordFile read(const std::string& source, RecordUse use = RecordUse::train) {
    return read_records(source, use, {.share = 1});
  }
  std::string failure(const std::string& source, RecordUse use = RecordUse::train) {
    return message_of([&] { read(source, use); });
  }
  const blip2::testing::TemporaryFolder temporary_;
  const std::filesystem::path& folder_ = temporary_.path();
};

}  // namespace blip2
