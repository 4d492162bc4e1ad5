#include "blip2/io/recast.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>

#include "blip2/base/message_of.h"

namespace blip2 {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// A file in memory.
class FloatsFile : public TensorFile {
 public:
  FloatsFile() : TensorFile("floats.bin") {}
  std::string_view format() const override { return "floats"; }

  FloatsFile& with(const std::string& name, std::vector<std::int64_t> shape,
                   std::vector<float> numbers) {
    numbers_.push_back(std::move(numbers));
    add({name, DType::f32, std::move(shape), std::as_bytes(std::span(numbers_.back()))});
    return *this;
  }

 private:
  std::deque<std::vector<float>> numbers_;
};

std::vector<float> numbers_of(const TensorFile& file, const std::string& name) {
  const TensorView& view = file.get(name);
  std::vector<float> numbers(static_cast<std::size_t>(view.numel()));
  to_float32(view, numbers);
  return numbers;
}

TEST(Recast, RenamesWithoutCopying) {
  const auto file = std::make_shared<FloatsFile>();
  file->with("m.theirs", {2}, {1, 2}).with("m.other", {1}, {3}).with("elsewhere", {1}, {4});
  const auto ours = recast(file, {{"ours", {{"theirs"}}}}, "m.");
  EXPECT_EQ(ours->get("m.ours").data.data(), file->get("m.theirs").data.data());
  EXPECT_EQ(ours->find("m.theirs"), nullptr);
  EXPECT_NE(ours->find("m.other"), nullptr);  // for adopt() to refuse or to pass over
  EXPECT_EQ(ours->find("elsewhere"), nullptr);
  EXPECT_EQ(ours->stored_name("m.ours"), "m.theirs");
  EXPECT_EQ(ours->stored_name("m.other"), "m.other");
  EXPECT_EQ(ours->path(), file->path());
  EXPECT_EQ(ours->format(), "floats");
}

TEST(Recast, SlicesAndJoins) {
  const auto file = std::make_shared<FloatsFile>();
  file->with("qkv", {3, 2}, {1, 2, 3, 4, 5, 6}).with("q", {2}, {7, 8}).with("v", {2}, {9, 10});
  const auto ours = recast(
      file, {{"k", {{"qkv", 1, 3}}}, {"v", {{"qkv", 2, 3}}}, {"bias", {{"q"}, {""}, {"v"}}}});
  EXPECT_EQ(ours->tensors().size(), 3u);
  EXPECT_THAT(ours->get("k").shape, ElementsAre(1, 2));
  EXPECT_THAT(numbers_of(*ours, "k"), ElementsAre(3, 4));
  EXPECT_THAT(numbers_of(*ours, "v"), ElementsAre(5, 6));
  EXPECT_EQ(ours->get("v").data.data(), file->get("qkv").data.data() + 16);
  EXPECT_THAT(ours->get("bias").shape, ElementsAre(6));
  EXPECT_THAT(numbers_of(*ours, "bias"), ElementsAre(7, 8, 0, 0, 9, 10));
}

TEST(Recast, NamesTheMissingParts) {
  const auto file = std::make_shared<FloatsFile>();
  file->with("q", {2}, {7, 8});
  const auto ours =
      recast(file, {{"bias", {{"q"}, {""}, {"v"}}}, {"both", {{"a"}, {"b"}}}, {"one", {{"c"}}}});
  EXPECT_TRUE(ours->tensors().empty());  // q is known, though it is of no use
  EXPECT_EQ(ours->stored_name("bias"), "v");
  EXPECT_EQ(ours->stored_name("both"), "a and b");
  EXPECT_EQ(ours->stored_name("one"), "c");
}

TEST(Recast, ListsWhatCannotBeSplitOrJoined) {
  const auto file = std::make_shared<FloatsFile>();
  file->with("qkv", {4}, {1, 2, 3, 4}).with("q", {2}, {7, 8}).with("v", {1}, {9});
  file->with("scalar", {}, {1}).with("other", {}, {2});
  const std::string message = message_of([&] {
    recast(file, {{"k", {{"qkv", 1, 3}}},
                  {"bias", {{"q"}, {"v"}}},
                  {"s", {{"scalar"}, {"other"}}},
                  {"t", {{"scalar", 0, 2}}}});
  });
  EXPECT_THAT(message,
              AllOf(HasSubstr("floats.bin"), HasSubstr("4 tensors do not fit the model"),
                    HasSubstr("qkv: expected 3 equal parts, got F32 [4]"),
                    HasSubstr("v: expected F32 [2] beside F32 [1]"),
                    HasSubstr("scalar: expected a dimension to be joined along, got F32 []"),
                    HasSubstr("scalar: expected 2 equal parts, got F32 []")));
}

TEST(Recast, KeepsItsFileAlive) {
  auto file = std::make_shared<FloatsFile>();
  file->with("theirs", {2}, {1, 2});
  const auto ours = recast(file, {{"ours", {{"theirs"}}}});
  const std::weak_ptr<FloatsFile> alive = file;
  file.reset();
  EXPECT_FALSE(alive.expired());
  EXPECT_THAT(numbers_of(*ours, "ours"), ElementsAre(1, 2));
}

TEST(TensorFile, RefusesInOneMessage) {
  const FloatsFile file;
  file.refuse({});
  EXPECT_THAT(message_of([&] { file.refuse({"a: missing"}, "image encoder"); }),
              HasSubstr("1 tensor does not fit the image encoder: a: missing"));
  EXPECT_THAT(message_of([&] { file.refuse(std::vector<std::string>(11, "b: wrong")); }),
              AllOf(HasSubstr("11 tensors do not fit the model: b: wrong; b: wrong"),
                    HasSubstr("; and 7 more")));
}

}  // namespace
}  // namespace blip2
