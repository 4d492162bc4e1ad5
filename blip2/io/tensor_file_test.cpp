#include "blip2/io/tensor_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "blip2/base/error.h"
#include "blip2/base/message_of.h"
#include "blip2/io/gguf.h"
#include "blip2/io/test_files.h"
#include "blip2/io/torch_archive_internal.h"

namespace blip2 {
namespace {

using testing::floats;
using ::testing::HasSubstr;
using testing::TemporaryFolder;
using ::testing::ThrowsMessage;

std::vector<float> values(const TensorFile& file, const char* name) {
  const TensorView& tensor = file.get(name);
  std::vector<float> out(static_cast<std::size_t>(tensor.numel()));
  to_float32(tensor, out);
  return out;
}

TEST(Gguf, ReadsAFileWrittenByHand) {
  testing::Gguf gguf;
  gguf.pair("a.name", 8, testing::Gguf::string("llama")).pair("a.count", 4, testing::u32(7));
  gguf.pair("a.less", 5, testing::le(-2)).pair("a.rate", 6, testing::le(0.5f));
  gguf.pair("a.yes", 7, std::string_view("\1", 1));
  gguf.pair("a.list", 9, testing::u32(5) + testing::u64(2) + testing::le(1) + testing::le(-1));
  gguf.tensor("w", {3, 2}, 0, 0);
  gguf.data = floats({1, 2, 3, 4, 5, 6});
  const TemporaryFolder folder;
  const auto file = open_gguf(folder.write("a.gguf", gguf.bytes()));
  EXPECT_EQ(file->string("a.name"), "llama");
  EXPECT_EQ(file->integer("a.count"), 7u);
  EXPECT_EQ(file->number("a.less"), -2);
  EXPECT_EQ(file->number("a.rate"), 0.5);
  EXPECT_EQ(file->boolean("a.yes"), true);
  EXPECT_EQ(*file->integers("a.list"), (std::vector<std::int32_t>{1, -1}));
  EXPECT_EQ(file->string("missing"), std::nullopt);
  EXPECT_EQ(file->strings("missing"), nullptr);
  EXPECT_EQ(file->get("w").shape, (std::vector<std::int64_t>{2, 3}));
  EXPECT_EQ(values(*file, "w"), (std::vector<float>{1, 2, 3, 4, 5, 6}));
  EXPECT_THAT([&] { file->integer("a.name"); },
              ThrowsMessage<Error>(HasSubstr("expected a whole number from 0, got \"llama\"")));
  EXPECT_THROW(file->integer("a.less"), Error);
}

// A part as llama.cpp's gguf-split writes it, with a tensor of one number.
std::string gguf_part(std::uint16_t number, std::uint16_t count, const char* tensor, float value) {
  testing::Gguf gguf;
  gguf.pair("split.no", 2, testing::u16(number)).pair("split.count", 2, testing::u16(count));
  gguf.pair("split.tensors.count", 5, testing::le(std::int32_t{count}));
  if (number == 0) gguf.pair("a.name", 8, testing::Gguf::string("llama"));
  gguf.tensor(tensor, {1}, 0, 0);
  gguf.data = floats({value});
  return gguf.bytes();
}

TEST(Gguf, ReadsThePartsOfASplitModelTogether) {
  const TemporaryFolder folder;
  const auto first = folder.write("m-00001-of-00003.gguf", gguf_part(0, 3, "a", 1));
  const auto second = folder.write("m-00002-of-00003.gguf", gguf_part(1, 3, "b", 2));
  EXPECT_THAT(message_of([&] { open_gguf(first); }),
              HasSubstr("is part 1 of 3; part 3 is not there: expected m-00003-of-00003.gguf"));
  const auto third = folder.write("m-00003-of-00003.gguf", gguf_part(2, 3, "c", 3));
  for (const auto& path : {first, second, third}) {
    const auto file = open_gguf(path);
    EXPECT_EQ(file->string("a.name"), "llama");
    ASSERT_EQ(file->tensors().size(), 3u);
    EXPECT_EQ(values(*file, "a"), std::vector<float>{1});
    EXPECT_EQ(values(*file, "c"), std::vector<float>{3});
  }
  folder.write("m-00003-of-00003.gguf", gguf_part(1, 3, "c", 3));
  EXPECT_THAT(message_of([&] { open_gguf(first); }), HasSubstr("expected part 3 of 3, got part 2"));
  folder.write("m-00003-of-00003.gguf", gguf_part(2, 3, "a", 3));
  EXPECT_THAT(message_of([&] { open_gguf(first); }), HasSubstr("\"a\""));
  std::filesystem::remove(first);
  EXPECT_THAT(message_of([&] { open_gguf(second); }), HasSubstr("part 1 is not there"));
  const auto renamed = folder.write("model.gguf", gguf_part(0, 3, "a", 1));
  EXPECT_THAT(message_of([&] { open_gguf(renamed); }),
              HasSubstr("is part 1 of 3; expected a name that ends with -00001-of-00003.gguf"));
}

TEST(TorchArchive, ReadsArchivesWrittenByHand) {
  const std::string data = floats({0, 1, 2, 3, 4, 5});
  const std::string matrix = testing::dict_of(testing::tensor(6, 0, {2, 3}, {3, 1}));
  const std::string transposed = testing::dict_of(testing::tensor(6, 0, {3, 2}, {1, 3}));
  const std::string slice = testing::dict_of(testing::tensor(6, 1, {2}, {3}));
  const TemporaryFolder folder;
  const auto read = [&](const std::string& bytes) {
    return values(*open_torch_archive(folder.write("a.pth", bytes)), "w");
  };
  const std::vector<float> plain{0, 1, 2, 3, 4, 5};
  EXPECT_EQ(read(testing::archive(matrix, data)), plain);
  EXPECT_EQ(read(testing::legacy(matrix, data, 6)), plain);
  EXPECT_EQ(read(testing::archive(transposed, data)), (std::vector<float>{0, 3, 1, 4, 2, 5}));
  EXPECT_EQ(read(testing::archive(slice, data)), (std::vector<float>{1, 4}));
}

TEST(TorchArchive, JoinsKeysAndKeepsScalars) {
  // {"model": {"w": tensor}, "list": [tensor, 5]}, built with memos.
  const std::string tensor = testing::tensor(1, 0, {1}, {1});
  const std::string body = "}q\1(" + testing::text("model") + "}" + testing::text("w") + tensor +
                           "q\2s" + testing::text("list") + "]h\2aK\5au";
  const TemporaryFolder folder;
  const auto file = open_torch_archive(
      folder.write("a.pth", testing::archive(testing::pickle(body), floats({9}))));
  EXPECT_EQ(values(*file, "model.w"), std::vector<float>{9});
  EXPECT_EQ(values(*file, "list.0"), std::vector<float>{9});
  EXPECT_EQ(file->scalars().at("list.1"), "5");
}

TEST(OpenTensorFile, TellsFormatsApart) {
  const TemporaryFolder folder;
  const auto format = [&](const std::string& bytes) {
    return std::string(open_tensor_file(folder.write("a", bytes))->format());
  };
  EXPECT_EQ(format(testing::safetensors("{}")), "safetensors");
  EXPECT_EQ(format(testing::Gguf().bytes()), "GGUF");
  EXPECT_EQ(format(testing::archive(testing::pickle("}"), "")), "PyTorch archive");
  EXPECT_EQ(format(testing::legacy(testing::dict_of(testing::tensor(0, 0, {0}, {1})), "", 0)),
            "PyTorch archive");
}

TEST(OpenTensorFile, CopiesUnalignedData) {
  const std::string header = R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}} )";
  ASSERT_NE(header.size() % 4, 0u);
  const TemporaryFolder folder;
  const auto file = open_tensor_file(folder.write("a", testing::safetensors(header, floats({3}))));
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(file->get("a").data.data()) % 4, 0u);
  EXPECT_EQ(values(*file, "a"), std::vector<float>{3});
}

constexpr const char* kOne = R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})";
constexpr const char* kIndex = "model.safetensors.index.json";

TEST(OpenModelWeights, JoinsShards) {
  const TemporaryFolder folder;
  folder.write("x.safetensors", testing::safetensors(kOne, floats({1})));
  folder.write("y.safetensors",
               testing::safetensors(R"({"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
                                    floats({2})));
  folder.write(kIndex, R"({"weight_map":{"a":"x.safetensors","b":"y.safetensors"}})");
  const auto file = open_model_weights(folder / "");
  EXPECT_EQ(values(*file, "a"), std::vector<float>{1});
  EXPECT_EQ(values(*file, "b"), std::vector<float>{2});
}

TEST(OpenModelWeights, RefusesABadIndex) {
  const TemporaryFolder folder;
  folder.write("x.safetensors", testing::safetensors(kOne, floats({1})));
  folder.write("y.safetensors", testing::safetensors(kOne, floats({1})));
  const auto open = [&](const std::string& index) {
    return [&, index] {
      folder.write(kIndex, index);
      open_model_weights(folder / "");
    };
  };
  const auto fails = [](const char* text) { return ThrowsMessage<Error>(HasSubstr(text)); };
  EXPECT_THAT(open(R"({"weight_map":{"a":"gone.safetensors"}})"), fails("is not there"));
  EXPECT_THAT(open(R"({"weight_map":{"a":"../x.safetensors"}})"), fails("not a plain file name"));
  EXPECT_THAT(open(R"({"weight_map":{"a":"/etc/passwd"}})"), fails("not a plain file name"));
  EXPECT_THAT(open(R"({"weight_map":{"a":""}})"), fails("not a plain file name"));
  EXPECT_THAT(open(R"({"weight_map":{"a":"x.safetensors","a":"y.safetensors"}})"), fails("twice"));
  EXPECT_THAT(open(R"({"weight_map":{"a":"x.safetensors","b":"x.safetensors"}})"),
              fails("no tensor \"b\""));
  EXPECT_THAT(open(R"({"weight_map":{"b":"x.safetensors"}})"), fails("does not put there"));
  EXPECT_THAT(open(R"({"weight_map":{"a":3}})"), fails("not a file name"));
  EXPECT_THAT(open(R"({"weights":{}})"), fails("expected an object \"weight_map\""));
  EXPECT_THAT(open("{"), fails("not valid JSON"));
}

TEST(OpenModelWeights, SaysWhatItLookedFor) {
  const TemporaryFolder folder;
  EXPECT_THAT([&] { open_model_weights(folder / ""); },
              ThrowsMessage<Error>(HasSubstr("holds neither model.safetensors")));
}

}  // namespace
}  // namespace blip2
