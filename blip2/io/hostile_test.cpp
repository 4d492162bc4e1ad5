// Bad weight files: each must give one clear Error that names the file, quickly and in little
// memory. The table holds files made to deceive; below it, every truncation and every flipped bit
// of small good files.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <ctime>

#include "blip2/base/error.h"
#include "blip2/io/tensor_file.h"
#include "blip2/io/test_files.h"

namespace blip2 {
namespace {

using ::testing::HasSubstr;
using namespace testing;  // NOLINT: the builders read better without a prefix

struct Bad {
  const char* name;
  std::string bytes;
  const char* expects;  // in the message
};

long peak_kilobytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

void expect_refused(const std::string& bytes, const char* expects) {
  const TemporaryFolder folder;
  const auto path = folder.write("bad.file", bytes);
  const long before = peak_kilobytes();
  const std::clock_t start = std::clock();  // of this process: other load does not count
  try {
    open_tensor_file(path);
    ADD_FAILURE() << "was accepted";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr(expects));
    EXPECT_THAT(error.where(), HasSubstr("bad.file"));
    EXPECT_LT(std::strlen(error.what()), 700u);
  }
  EXPECT_LT(std::clock() - start, 2 * CLOCKS_PER_SEC);
  EXPECT_LT(peak_kilobytes() - before, 100'000);
}

std::string repeat(std::string_view text, std::size_t count) {
  std::string out;
  for (std::size_t i = 0; i < count; ++i) out += text;
  return out;
}

std::string entry(const char* dtype, const char* shape, const char* offsets) {
  return std::string(R"({"a":{"dtype":")") + dtype + R"(","shape":)" + shape +
         R"(,"data_offsets":)" + offsets + "}}";
}

std::string two(const char* first, const char* second) {
  return std::string(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":)") + first +
         R"(},"b":{"dtype":"U8","shape":[4],"data_offsets":)" + second + "}}";
}

std::vector<Bad> bad_safetensors() {
  const std::string data(8, 'x');
  const auto file = [&](const std::string& header) { return safetensors(header, data); };
  return {
      {"Empty", "", "the file is empty"},
      {"OneByte", "x", "of another kind"},
      {"Text", "This is a text and no weight file.", "of another kind"},
      {"HeaderOfTerabytes", u64(1ull << 42) + "{}", "claims 4398046511104 bytes"},
      {"HeaderOfAllOnes", u64(~0ull) + "{}", "claims 18446744073709551615 bytes"},
      {"HeaderPastTheEnd", u64(3) + "{}", "claims 3 bytes"},
      {"HeaderNotJson", file("{\"a\": nonsense}"), "not valid JSON at byte"},
      {"HeaderCutOff", file("{\"a\":{\"dtype\""), "not valid JSON"},
      {"HeaderNotUtf8", file("{\"\xff\xfe\":1}"), "not valid JSON"},
      {"HeaderNestedDeep", file("{\"a\":" + repeat("[", 100000)), "nested deeper than 8"},
      {"HeaderNestedObjects", file(repeat("{\"a\":", 100000)), "nested deeper than 8"},
      {"EntryNotAnObject", file(R"({"a":7})"), "is not an object"},
      {"EntryWithoutShape", file(R"({"a":{"dtype":"F32","data_offsets":[0,8]}})"), "\"shape\""},
      {"EntryWithExtras", file(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1}})"),
       "unknown field \"x\""},
      {"NameTwice",
       file(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32"}})"),
       "is there twice"},
      {"UnknownDtype", file(entry("F33", "[2]", "[0,8]")), "dtype \"F33\""},
      {"QuantisedDtype", file(entry("Q4_0", "[32]", "[0,8]")), "dtype \"Q4_0\""},
      {"DtypeNotAString", file(R"({"a":{"dtype":4,"shape":[2],"data_offsets":[0,8]}})"), "dtype"},
      {"NegativeShape", file(entry("F32", "[-2]", "[0,8]")), "holds -2"},
      {"FractionalShape", file(entry("F32", "[1.5]", "[0,8]")), "holds 1.5"},
      {"ShapeBeyond63Bits", file(entry("F32", "[9223372036854775808]", "[0,8]")), "2^63 - 1"},
      {"ShapeOverflows", file(entry("F32", "[4294967296,4294967296,4]", "[0,8]")),
       "more than 2^63"},
      {"ShapeOverflowsToZero", file(entry("U8", "[4294967296,4294967296]", "[0,0]")),
       "more than 2^63"},
      {"ShapeNotTheData", file(entry("F32", "[3]", "[0,8]")), "takes 12 bytes"},
      {"OffsetsPastTheEnd", file(entry("U8", "[9]", "[0,9]")), "do not lie in the 8 bytes"},
      {"OffsetsHuge", file(entry("U8", "[8]", "[0,9223372036854775807]")), "do not lie"},
      {"OffsetsBackwards", file(entry("F32", "[2]", "[8,0]")), "do not lie"},
      {"OffsetsThree", file(entry("F32", "[2]", "[0,4,8]")), "do not lie"},
      {"OffsetsNotNumbers", file(entry("F32", "[2]", "[\"0\",\"8\"]")), "holds \"0\""},
      {"Overlap", file(two("[0,4]", "[2,6]")), "starts at data offset 2, expected 4"},
      {"SameBytes", file(two("[0,4]", "[0,4]")), "starts at data offset 0, expected 4"},
      {"Hole", safetensors(two("[0,4]", "[6,10]"), "0123456789"), "offset 6, expected 4"},
      {"BytesLeftOver", file(entry("F32", "[1]", "[0,4]")), "tensors end at data offset 4"},
      {"HalfAByte", file(entry("F4", "[3]", "[0,2]")), "data offsets"},
      {"MetadataNotStrings", file(R"({"__metadata__":{"a":1}})"), "is not a string"},
      {"MetadataNotAnObject", file(R"({"__metadata__":[]})"), "not an object of strings"},
  };
}

std::vector<Bad> bad_gguf() {
  const auto with = [](auto&& change) {
    Gguf file;
    change(file);
    return file.bytes();
  };
  const auto tensor = [&](std::vector<std::uint64_t> sizes, std::uint32_t type,
                          std::uint64_t offset) {
    return with(
        [&](Gguf& file) { file.tensor("w", sizes, type, offset).data = std::string(64, 'x'); });
  };
  const auto pair = [&](std::uint32_t type, const std::string& value) {
    return with([&](Gguf& file) { file.pair("key", type, value); });
  };
  const auto alignment = [&](std::uint32_t value) {
    return with([&](Gguf& file) {
      file.pair("general.alignment", 4, u32(value)).tensor("w", {1}, 0, 0).data = "xxxx";
    });
  };
  return {
      {"OnlyTheMagic", "GGUF", "expected 4 bytes for the version"},
      {"Version1", with([](Gguf& file) { file.version = 1; }), "version 3, got 1"},
      {"BigEndian", with([](Gguf& file) { file.version = 0x03000000; }), "big-endian"},
      {"TensorsWithoutEnd", with([](Gguf& file) { file.info_count = 1ull << 60; }), "claims"},
      {"PairsWithoutEnd", with([](Gguf& file) { file.pair_count = ~0ull; }), "claims"},
      {"KeyOfTerabytes", with([](Gguf& file) {
         file.pair_count = 1;
         file.pairs = u64(1ull << 41) + std::string(64, 'x');
       }),
       "expected 2199023255552 bytes for a metadata key"},
      {"StringOfAllOnes", pair(8, u64(~0ull) + "xxx"), "expected 18446744073709551615 bytes"},
      {"UnknownValueType", pair(13, u64(0)), "unknown metadata type 13"},
      {"BooleanOfTwo", pair(7, "\2"), "boolean 0 or 1, got 2"},
      {"ArrayOfUnknownType", pair(9, u32(99) + u64(1) + u64(0)), "unknown metadata type 99"},
      {"ArrayWithoutEnd", pair(9, u32(10) + u64(1ull << 61)), "claims 2305843009213693952"},
      {"ArrayOfStringsWithoutEnd", pair(9, u32(8) + u64(1000) + u64(0)), "claims 1000 elements"},
      {"ArraysNestedDeep", pair(9, repeat(u32(9) + u64(1), 100)), "nested deeper than 8"},
      {"KeyTwice", with([](Gguf& file) { file.pair("k", 4, u32(1)).pair("k", 4, u32(2)); }),
       "\"k\" is there twice"},
      {"FiveDimensions", tensor({1, 1, 1, 1, 1}, 0, 0), "has 5 dimensions"},
      {"DimensionsWithoutEnd", with([](Gguf& file) {
         file.infos = Gguf::string("w") + u32(~0u) + u64(0) + u64(0);
         file.info_count = 1;
       }),
       "has 4294967295 dimensions"},
      {"GgufShapeOverflows", tensor({1ull << 32, 1ull << 32}, 0, 0), "out of range"},
      {"GgufShapeNegative", tensor({~0ull}, 0, 0), "out of range"},
      {"NoMultipleOfTheBlock", tensor({33}, 2, 0), "no multiple of its block"},
      {"UnknownTensorType", tensor({4}, 200, 0), "unknown type 200"},
      {"ListedTensorCutOff", tensor({256}, 10, 0), "takes 84 bytes at data offset 0"},
      {"DataPastTheEnd", tensor({17}, 0, 0), "takes 68 bytes at data offset 0"},
      {"OffsetPastTheEnd", tensor({1}, 0, 1ull << 40), "at data offset 1099511627776"},
      {"OffsetOfAllOnes", tensor({1}, 0, ~0ull - 31), "at data offset"},
      {"OffsetUnaligned", tensor({1}, 0, 4), "aligned to 32"},
      {"TensorTwice", with([](Gguf& file) {
         file.tensor("w", {8}, 0, 0).tensor("w", {8}, 0, 32).data = std::string(64, 'x');
       }),
       "\"w\" twice"},
      {"TensorsOverlap", with([](Gguf& file) {
         file.tensor("v", {16}, 0, 0).tensor("w", {8}, 0, 32).data = std::string(64, 'x');
       }),
       "overlap at data offset 32"},
      {"AlignmentZero", alignment(0), "general.alignment is 0"},
      {"AlignmentThree", alignment(3), "general.alignment is 3"},
      {"AlignmentHuge", alignment(1u << 31), "general.alignment is 2147483648"},
      {"AlignmentAString", with([](Gguf& file) {
         file.pair("general.alignment", 8, Gguf::string("32")).tensor("w", {1}, 0, 0);
       }),
       "expected a whole number from 0, got \"32\""},
      {"GgufNameNotUtf8",
       with([](Gguf& file) { file.tensor("\xc3\x28", {1}, 0, 0).data = "xxxx"; }),
       "not valid UTF-8"},
  };
}

// Archives whose zip part deceives.
std::vector<Bad> bad_zips() {
  const std::string good = dict_of(tensor(2, 0, {2}, {1}));
  const std::string data = floats({1, 2});
  const Zip zip = Zip().add("a/data.pkl", good).add("a/data/0", data);
  const auto changed = [&](std::size_t at, char value) {
    std::string bytes = zip.finish();
    bytes[at] = value;
    return bytes;
  };
  Zip overlapping = Zip().add("a/data.pkl", good);
  overlapping.directory += overlapping.directory;
  overlapping.count = 2;
  return {
      {"ZipMagicAlone", "PK\3\4", "expected a zip end record"},
      {"ZipWithoutEnd", zip.bytes + zip.directory, "expected a zip end record"},
      {"ZipDirectoryPastTheEnd", zip.finish(~0u, 1u << 30), "does not lie in the file"},
      {"ZipEntriesWithoutEnd", zip.finish(65000), "does not lie in the file"},
      {"ZipWithoutItsZip64Part", zip.finish(65535), "zip64"},
      {"ZipDirectoryElsewhere", zip.finish(~0u, 0), "expected a zip directory entry"},
      {"ZipEntryTwice", overlapping.finish(), "is there twice"},
      {"ZipDeflated", Zip().add("a/data.pkl", good, 8).finish(), "compressed (method 8)"},
      {"ZipEncrypted", Zip().add("a/data.pkl", good, 0, 1).finish(), "encrypted"},
      {"ZipBitFlipInData", changed(zip.bytes.size() - 1, 'x'), "expected CRC-32"},
      {"ZipOtherLocalName", changed(30, 'b'), "names another file"},
      {"ZipWithoutPickle", Zip().add("a/readme", "hello").finish(), "holds no data.pkl"},
      {"ZipWithoutStorage", Zip().add("a/data.pkl", good).finish(), "got no such entry"},
      {"ZipStorageTooShort", archive(good, "1234"), "expected 2 elements of F32, got 4 bytes"},
      {"ZipBigEndian", Zip().add("a/data.pkl", good).add("a/byteorder", "big").finish(),
       "expected byte order \"little\""},
  };
}

// {"w": deeply shared lists}: each list holds the one before it `width` times.
std::string memo_bomb(int levels, std::size_t width) {
  const auto index = [](int i) { return std::string(1, static_cast<char>(i)); };
  std::string body = "]K\1aq" + index(0);
  for (int i = 0; i < levels; ++i) {
    body += "0](" + repeat("h" + index(i), width) + "eq" + index(i + 1);
  }
  return dict_of(body);
}

std::vector<Bad> bad_pickles() {
  const std::string data = floats({1, 2, 3, 4});
  const auto file = [&](const std::string& pickle) { return archive(pickle, data); };
  const auto view = [&](std::int64_t numel, std::int64_t offset, std::vector<std::int64_t> shape,
                        std::vector<std::int64_t> strides) {
    return file(dict_of(tensor(numel, offset, shape, strides)));
  };
  const std::string call = "(" + text("echo hacked") + "tR";
  const std::string odd_key = pickle("}NK\1s");
  constexpr std::int64_t kLarge = std::int64_t{1} << 62;
  return {
      {"OsSystem", file(dict_of(global("os", "system") + call)), "names os.system"},
      {"PosixSystem", file(dict_of(global("posix", "system") + call)), "names posix.system"},
      {"BuiltinsEval", file(dict_of(global("builtins", "eval") + call)), "names builtins.eval"},
      {"StackGlobalExec", file(dict_of(text("builtins") + text("exec") + "\x93" + call)),
       "names builtins.exec"},
      {"NestedTorchGlobal", file(dict_of(global("torch.hub", "load") + call)), "torch.hub.load"},
      {"TorchLoad", file(dict_of(global("torch", "load") + call)), "names torch.load"},
      {"WholeModel", file(dict_of(global("torch.nn.modules.linear", "Linear") + ")\x81")),
       "names torch.nn.modules.linear.Linear"},
      {"NumpyScalar", file(dict_of(global("numpy.core.multiarray", "scalar") + call)), "numpy"},
      {"ComplexStorage", file(dict_of(storage("ComplexFloatStorage", "0", 2))),
       "names torch.ComplexFloatStorage"},
      {"CallOfAStorageType", file(dict_of(global("torch", "FloatStorage") + ")R")), "not allowed"},
      {"GlobalWithoutEnd",
       file("\x80\x02"
            "c" +
            std::string(5000, 'a')),
       "longer than 256 bytes"},
      {"NewObject", file(dict_of("}}\x81")), "opcode 0x81"},
      {"Extension", file(dict_of("\x82\x01")), "opcode 0x82"},
      {"ProtocolZero", file("(dp0\nS'w'\np1\n."), "opcode 0x64"},
      {"ProtocolNine", file("\x80\x09}."), "protocol 2 to 5, got 9"},
      {"NoStop", file("\x80\x02}"), "for a pickle opcode, got 0"},
      {"EmptyStack", file(pickle("")), "0 values on its stack"},
      {"PopOfNothing", file(pickle("0")), "empty stack"},
      {"PopThroughAMark", file(pickle("N(0")), "empty stack"},
      {"MarkNeverSet", file(pickle("t")), "mark that it did not set"},
      {"MemoNeverSet", file(pickle("hA")), "memo 65, which was never set"},
      {"MarksLeft", file(pickle("}(")), "on its stack"},
      {"AppendToADictionary", file(pickle("}Na")), "expected a list"},
      {"KeyWithoutValue", file(pickle("}(Nu")), "lacks its value"},
      {"KeyOfNone", file(odd_key), "neither a string nor an integer"},
      {"StringOfTerabytes", file("\x80\x02\x8d" + u64(1ull << 41)), "bytes for a string"},
      {"IntegerOfGigabytes", file("\x80\x02\x8b" + u32(0x7fffffff)), "expected at most 8"},
      {"MemoBomb", file(memo_bomb(30, 2)), "unfolds to more than"},
      {"MemoBombWide", file(memo_bomb(3, 2000)), "unfolds to more than"},
      {"ListInItself", file(dict_of("]q\1h\1a")), "more than 64 deep"},
      {"ListsNestedDeep", file(dict_of(repeat("]", 5000) + repeat("a", 4999))), "64 deep"},
      {"TooManyValues", file(dict_of("]" + repeat("N0", 2'000'000))), "more than 1048576 values"},
      {"NamesTooLong",
       file(pickle("}(" + repeat(text(std::string(100'000, 'k')) + "q\1" + "K\1", 1) +
                   repeat("h\1K\1", 2000) + "u")),
       "bytes of names"},
      {"NameTwiceInPickle",
       file(pickle("}(" + text("w") + tensor(4, 0, {4}, {1}) + text("w") + tensor(4, 0, {4}, {1}) +
                   "u")),
       "the tensor \"w\" twice"},
      {"ViewPastTheEnd", view(4, 0, {5}, {1}), "0 to 4 do not lie in a storage of 4"},
      {"ViewOffsetPastTheEnd", view(4, 4, {1}, {1}), "4 to 4 do not lie"},
      {"ViewOffsetNegative", view(4, -1, {2}, {1}), "-1 to 0 do not lie"},
      {"ViewOffsetOverflows", view(4, kLarge, {3}, {kLarge}), "out of range"},
      {"ViewShapeNegative", view(4, 0, {-1}, {1}), "out of range"},
      {"ViewShapeOverflows", view(4, 0, {kLarge, 8}, {0, 0}), "out of range"},
      {"ViewStrideNegative", view(4, 3, {4}, {-1}), "out of range"},
      {"ViewStridesMissing", view(4, 0, {2, 2}, {2}), "2 dimensions has 1 strides"},
      {"ViewExpandedToTerabytes", view(4, 0, {1000000, 1000000}, {0, 0}), "than the file has"},
      {"ViewOfManyDimensions",
       view(4, 0, std::vector<std::int64_t>(65, 1), std::vector<std::int64_t>(65, 1)),
       "65 dimensions, expected at most 64"},
      {"StorageOfTerabytes", view(kLarge, 0, {1}, {1}), "expected 4611686018427387904 elements"},
      {"StorageNegative", view(-1, 0, {1}, {1}), "malformed persistent id"},
      {"PersistentIdOfAModule", file(dict_of("(" + text("module") + "tQ")),
       "persistent id of a storage"},
      {"TensorOfANumber", file(dict_of(global("torch._utils", "_rebuild_tensor_v2") + "(K\1tR")),
       "a storage"},
  };
}

std::vector<Bad> bad_legacy() {
  const std::string good = dict_of(tensor(2, 0, {2}, {1})), data = floats({1, 2});
  return {
      {"LegacyMagicAlone", legacy("", "", 0).substr(0, 15), "a pickle opcode"},
      {"LegacyStorageHuge", legacy(good, data, std::int64_t{1} << 61), "expected 2"},
      {"LegacyStorageNegative", legacy(good, data, -1), "-1 elements, expected 2"},
      {"LegacyTrailingBytes", legacy(good, data, 2) + "x", "follow the last storage"},
      {"LegacyEval", legacy(dict_of(global("builtins", "eval")), data, 2), "names builtins.eval"},
      {"LegacyUnusedStorage", legacy(pickle("}"), data, 2), "no tensor uses the storage"},
      {"LegacyTruncatedStorage", legacy(good, data.substr(1), 2), "expected 8 bytes for a storage"},
  };
}

class HostileWeights : public ::testing::TestWithParam<Bad> {};

TEST_P(HostileWeights, IsRefused) {
  expect_refused(GetParam().bytes, GetParam().expects);
}

const auto kName = [](const ::testing::TestParamInfo<Bad>& info) { return info.param.name; };
INSTANTIATE_TEST_SUITE_P(Safetensors, HostileWeights, ::testing::ValuesIn(bad_safetensors()),
                         kName);
INSTANTIATE_TEST_SUITE_P(Gguf, HostileWeights, ::testing::ValuesIn(bad_gguf()), kName);
INSTANTIATE_TEST_SUITE_P(Zip, HostileWeights, ::testing::ValuesIn(bad_zips()), kName);
INSTANTIATE_TEST_SUITE_P(Pickle, HostileWeights, ::testing::ValuesIn(bad_pickles()), kName);
INSTANTIATE_TEST_SUITE_P(Legacy, HostileWeights, ::testing::ValuesIn(bad_legacy()), kName);

std::vector<std::string> good_files() {
  Gguf gguf;
  gguf.pair("name", 8, Gguf::string("x")).pair("list", 9, u32(5) + u64(2) + u64(1));
  gguf.tensor("w", {2}, 0, 0).data = floats({1, 2});
  const std::string header = R"({"__metadata__":{"a":"b"},)"
                             R"("w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
  const std::string pickle = dict_of(tensor(2, 0, {2}, {1}));
  return {gguf.bytes(), safetensors(header, floats({1, 2})), archive(pickle, floats({1, 2})),
          legacy(pickle, floats({1, 2}), 2)};
}

TEST(HostileWeightsEverywhere, EveryTruncationIsRefused) {
  const TemporaryFolder folder;
  for (const std::string& good : good_files()) {
    EXPECT_NO_THROW(open_tensor_file(folder.write("good", good)));
    for (std::size_t size = 0; size < good.size(); ++size) {
      EXPECT_THROW(open_tensor_file(folder.write("cut", good.substr(0, size))), Error) << size;
    }
  }
}

TEST(HostileWeightsEverywhere, EveryFlippedBitIsReadOrRefused) {
  const TemporaryFolder folder;
  for (std::string bytes : good_files()) {
    for (std::size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
      bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << bit % 8));
      try {
        const auto file = open_tensor_file(folder.write("flipped", bytes));
        for (const TensorView& view : file->tensors()) {
          std::vector<float> values(static_cast<std::size_t>(view.numel()));
          to_float32(view, values);
        }
      } catch (const Error&) {
      }
      bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << bit % 8));
    }
  }
}

TEST(HostileWeightsEverywhere, OtherThanRegularFilesAreRefused) {
  const TemporaryFolder folder;
  EXPECT_THROW(open_tensor_file(folder / "missing"), Error);
  EXPECT_THROW(open_tensor_file(folder / ""), Error);
  EXPECT_THROW(open_tensor_file("/dev/zero"), Error);
}

}  // namespace
}  // namespace blip2
