#include "blip2/io/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "blip2/base/error.h"
#include "blip2/io/json.h"
#include "blip2/io/test_files.h"

namespace blip2 {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

// Written by hand from the format's description.
const std::string kHeader =
    R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},)"
    R"("b":{"dtype":"I8","shape":[],"data_offsets":[8,9]}} )";

TEST(Safetensors, ReadsAFileWrittenByHand) {
  const testing::TemporaryFolder folder;
  const std::string bytes = testing::safetensors(kHeader, testing::floats({1.5f, -2}) + "\x07");
  const auto file = open_safetensors(folder.write("a.safetensors", bytes));
  EXPECT_EQ(file->metadata().at("format"), "pt");
  ASSERT_EQ(file->tensors().size(), 2u);
  const TensorView& a = file->get("a");
  EXPECT_EQ(describe(a), "F32 [1, 2]");
  std::vector<float> values(2);
  to_float32(a, values);
  EXPECT_EQ(values, (std::vector<float>{1.5f, -2}));
  EXPECT_EQ(file->get("b").numel(), 1);
  EXPECT_EQ(file->find("c"), nullptr);
}

TEST(Safetensors, WritesWhatItReadByteForByte) {
  const testing::TemporaryFolder folder;
  std::string header = kHeader;
  header.resize((header.size() + 7) / 8 * 8, ' ');
  const std::string bytes = testing::safetensors(header, testing::floats({1.5f, -2}) + "\x07");
  const auto file = open_safetensors(folder.write("a", bytes));
  write_safetensors(folder / "b", file->tensors(), file->metadata());
  EXPECT_EQ(read_file(folder / "b"), bytes);
}

TEST(Safetensors, AlignsTensorsByWritingLargerTypesFirst) {
  const testing::TemporaryFolder folder;
  const std::string data = testing::floats({4, 5});
  const auto bytes = std::as_bytes(std::span(data));
  const std::vector<TensorView> tensors{{"small", DType::u8, {3}, bytes.first(3)},
                                        {"large", DType::f32, {2}, bytes}};
  write_safetensors(folder / "a", tensors);
  EXPECT_EQ(open_safetensors(folder / "a")->tensors().front().name, "large");
}

// Two rows of 64 in Q8_0, which the file has as bytes under a name of its own.
TEST(Safetensors, HoldsMatricesInBlocks) {
  const testing::TemporaryFolder folder;
  std::string data(2 * 2 * 34, '\x01');
  const std::vector<TensorView> tensors{
      {"m.weight", DType::q8_0, {2, 64}, std::as_bytes(std::span(data))}};
  write_safetensors(folder / "a", tensors);
  const auto file = open_safetensors(folder / "a");
  EXPECT_THAT(file->metadata().at(kQuantisation), HasSubstr("Q8_0"));
  EXPECT_EQ(describe(file->get("m.weight")), "Q8_0 [2, 64]");
  EXPECT_TRUE(std::ranges::equal(file->get("m.weight").data, tensors[0].data));
  EXPECT_EQ(file->stored_name("m.weight"), "m.weight.q8_0");
  EXPECT_THAT(read_file(folder / "a"),
              HasSubstr(R"("m.weight.q8_0":{"dtype":"U8","shape":[2,68],"data_offsets":[0,136]})"));
  write_safetensors(folder / "b", file->tensors(), file->metadata());
  EXPECT_EQ(read_file(folder / "b"), read_file(folder / "a"));
}

TEST(Safetensors, RefusesOtherShapesInBlocks) {
  const testing::TemporaryFolder folder;
  const std::string metadata = R"({"__metadata__":{"blip2.quantisation":"Q8_0"},)";
  const auto opened = [&](const std::string& entry, std::size_t bytes, bool known = true) {
    const std::string header = (known ? metadata : "{") + R"("m.q8_0":)" + entry + "}";
    return open_safetensors(
        folder.write("a", testing::safetensors(header, std::string(bytes, 'x'))));
  };
  const std::string row = R"({"dtype":"U8","shape":[1,34],"data_offsets":[0,34]})";
  EXPECT_EQ(describe(opened(row, 34)->get("m")), "Q8_0 [1, 32]");
  EXPECT_EQ(describe(opened(row, 34, false)->get("m.q8_0")), "U8 [1, 34]");
  for (const auto& [entry, bytes] : std::vector<std::pair<std::string, std::size_t>>{
           {R"({"dtype":"U8","shape":[1,33],"data_offsets":[0,33]})", 33},
           {R"({"dtype":"U8","shape":[34],"data_offsets":[0,34]})", 34},
           {R"({"dtype":"I8","shape":[1,34],"data_offsets":[0,34]})", 34}}) {
    EXPECT_THAT([&] { opened(entry, bytes); },
                ThrowsMessage<Error>(HasSubstr("expected U8 [rows, a multiple of 34]")));
  }
}

TEST(Safetensors, AMissingNameSuggestsTheNearest) {
  const testing::TemporaryFolder folder;
  const auto file = open_safetensors(folder.write(
      "a", testing::safetensors(
               R"({"encoder.weight":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}})")));
  EXPECT_THAT([&] { file->get("encoder.weigth"); },
              ThrowsMessage<Error>(HasSubstr("did you mean \"encoder.weight\"?")));
}

TEST(Safetensors, RefusesToWriteWhatItCouldNotRead) {
  const testing::TemporaryFolder folder;
  const std::string data(8, '\0');
  const auto bytes = std::as_bytes(std::span(data));
  const TensorView good{"a", DType::f32, {2}, bytes};
  const auto write = [&](std::vector<TensorView> tensors) {
    return [&, tensors] { write_safetensors(folder / "x", tensors); };
  };
  EXPECT_THAT(write({good, good}), ThrowsMessage<Error>(HasSubstr("given twice")));
  EXPECT_THAT(write({{"a", DType::f32, {3}, bytes}}), ThrowsMessage<Error>(HasSubstr("8 bytes")));
  EXPECT_THAT(write({{"a", DType::q8_0, {32}, bytes}}), ThrowsMessage<Error>(HasSubstr("Q8_0")));
  EXPECT_THAT(write({{"\xff", DType::f32, {2}, bytes}}), ThrowsMessage<Error>(HasSubstr("UTF-8")));
  EXPECT_FALSE(std::filesystem::exists(folder / "x"));
}

TEST(Json, LimitsDepthSizeAndValues) {
  EXPECT_EQ(parse_json(R"({"a":[1,-2,2.5,"x",true,null]})", "here")["a"].size(), 6u);
  EXPECT_THAT([] { parse_json(std::string(65, '['), "here"); },
              ThrowsMessage<Error>(HasSubstr("here: JSON nested deeper than 64 levels")));
  EXPECT_THAT([] { parse_json("[1,2,3]", "here", {.values = 3}); },
              ThrowsMessage<Error>(HasSubstr("at most 3 JSON values")));
  EXPECT_THAT([] { parse_json("[1,2,3]", "here", {.bytes = 6}); },
              ThrowsMessage<Error>(HasSubstr("at most 6 bytes")));
  EXPECT_THAT([] { parse_json(R"({"a":1,"a":2})", "here"); },
              ThrowsMessage<Error>(HasSubstr("\"a\" is there twice")));
  EXPECT_THAT([] { parse_json("{\"a\":", "here"); },
              ThrowsMessage<Error>(HasSubstr("not valid JSON at byte")));
}

}  // namespace
}  // namespace blip2
