// What is lost of a damaged shard is counted exactly: every flipped bit of a header and every
// truncation of small shards in each form of tar.
#include "blip2/io/tar_samples.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <functional>
#include <set>

#include "blip2/base/error.h"
#include "blip2/base/random.h"
#include "blip2/io/test_files.h"
#include "blip2/io/test_tar.h"

namespace blip2 {
namespace {

using ::testing::HasSubstr;
using namespace testing;  // NOLINT: the builders read better without a prefix

struct Form {
  const char* name;
  std::string (*member)(const std::string&, const std::string&);
  std::string prefix;  // of the members' names
};

const Form kForms[] = {{"ustar", tar_member, ""},
                       {"pax", pax_member, ""},
                       {"pax, long names", pax_member, std::string(120, 'p') + "/"},
                       {"GNU, long names", gnu_member, std::string(120, 'g') + "/"}};

constexpr std::size_t kSamples = 5;

// Where the members lie, for damaging them.
struct Shard {
  std::string bytes;
  std::vector<std::size_t> sample_starts, block_ends;
};

Shard make_shard(const Form& form, const std::vector<const char*>& extensions) {
  Shard shard;
  for (std::size_t i = 0; i < kSamples; ++i) {
    shard.sample_starts.push_back(shard.bytes.size());
    for (const char* extension : extensions) {
      const std::string body(300 + 331 * i, static_cast<char>('a' + i));
      shard.bytes += form.member(fmt::format("{}{:04}.{}", form.prefix, i, extension), body);
      shard.block_ends.push_back(shard.bytes.size());
    }
  }
  shard.bytes += tar_end();
  return shard;
}

// Whether a flipped bit outside headers turned one sample's name into another's. No checksum tells
// which of the members that then share a name is the right one, so both samples are lost.
bool moves_a_member(const Shard& shard, const std::string& damaged, std::size_t byte) {
  const std::size_t block = byte / kTarBlock * kTarBlock;
  const auto bytes = std::as_bytes(std::span(shard.bytes));
  if (parse_tar_header(bytes.subspan(block, kTarBlock))) return false;
  const std::string_view before = std::string_view(shard.bytes).substr(block, kTarBlock);
  const std::string_view after = std::string_view(damaged).substr(block, kTarBlock);
  for (std::size_t i = 0; i < kSamples; ++i) {
    const std::string name = fmt::format("{:04}.", i);
    if (after.find(name) != after.npos && before.find(name) == before.npos) return true;
  }
  return false;
}

struct Count {
  std::size_t whole = 0, lost = 0;
  std::string cut_off, faults;
};

class TarSamplesTest : public ::testing::Test {
 protected:
  Count count(const std::string& bytes) {
    TarSampleReader reader(folder_.write("s.tar", bytes));
    Count result;
    while (const auto sample = reader.next()) {
      ++(sample->fault.empty() ? result.whole : result.lost);
      if (!sample->fault.empty()) result.faults += sample->key + " " + sample->fault + "\n";
    }
    result.cut_off = reader.cut_off();
    return result;
  }
  TemporaryFolder folder_;
};

TEST_F(TarSamplesTest, GroupsByTheNameBeforeTheFirstDot) {
  EXPECT_EQ(split_member_name("a.b/0001.seg.PNG"),
            std::make_pair(std::string("a.b/0001"), std::string("seg.png")));
  TarSampleReader reader(folder_.write(
      "s.tar", tar_member("README", "x") + tar_member("0.cls", "7") + tar_member("0.JPG", "pic") +
                   tar_member("0.seg.png", "mask") + tar_member("0.txt", "text") +
                   tar_member("1.png", "p") + tar_member("1.json", "{}") + tar_end()));
  const auto first = reader.next(), second = reader.next();
  ASSERT_TRUE(first && second);
  EXPECT_EQ(first->key, "0");
  EXPECT_EQ(reader.read(*first->picture), "pic");
  EXPECT_EQ(reader.read(*first->text), "text");
  EXPECT_EQ(first->fault, "");
  EXPECT_EQ(reader.read(*second->json), "{}");
  EXPECT_FALSE(reader.next());
}

// The keys and suffixes of webdataset 1.0.2's base_plus_ext, in lower case; empty: None.
TEST_F(TarSamplesTest, SplitsNamesAsWebDatasetDoes) {
  const std::vector<std::array<const char*, 3>> kNames{{"1.jpg", "1", "jpg"},
                                                       {"./1.jpg", "./1", "jpg"},
                                                       {"._1.jpg", "", ""},
                                                       {"./._1.jpg", "", ""},
                                                       {"d/._1.jpg", "d/", "_1.jpg"},
                                                       {"./a/._1.jpg", "./a/", "_1.jpg"},
                                                       {"README", "", ""},
                                                       {"d/README", "", ""},
                                                       {"a.b/README", "", ""},
                                                       {"d/.jpg", "d/", "jpg"},
                                                       {".jpg", "", ""},
                                                       {"..jpg", "", ""},
                                                       {"a.b/.c.jpg", "", ""},
                                                       {"a/b.c/.d.jpg", "", ""},
                                                       {"a/b/..jpg", "a/b/", ".jpg"},
                                                       {"a./x.jpg", "a./x", "jpg"},
                                                       {"x/.y/z.jpg", "x/.y/z", "jpg"},
                                                       {"a//.jpg", "a//", "jpg"},
                                                       {"/.jpg", "/", "jpg"},
                                                       {"1.", "1", ""},
                                                       {"__meta__/a.jpg", "", ""},
                                                       {"__meta__", "", ""},
                                                       {"__MACOSX/1.jpg", "__MACOSX/1", "jpg"}};
  for (const auto& [name, key, suffix] : kNames) {
    EXPECT_EQ(split_member_name(name), std::make_pair(std::string(key), std::string(suffix)))
        << name;
  }
}

TEST_F(TarSamplesTest, WhatBelongsToNoSamplePartsNone) {
  for (const char* between : {"._1.txt", "README", "__meta__/x.json", "d/LICENSE"}) {
    const Count got = count(tar_member("._1.jpg", "m") + tar_member("1.jpg", "p") +
                            tar_member(between, "m") + tar_member("1.txt", "t") + tar_end());
    EXPECT_EQ(got.whole, 1u) << between;
    EXPECT_EQ(got.lost, 0u) << got.faults;
  }
  const Count apart = count(tar_member("1.jpg", "p") + tar_member("2.jpg", "p") +
                            tar_member("2.txt", "t") + tar_member("1.txt", "t") + tar_end());
  EXPECT_EQ(apart.whole, 1u);
  EXPECT_EQ(apart.lost, 2u) << "equal keys that do not stand together are two samples";
}

TEST_F(TarSamplesTest, CountsSamplesOfWhichNothingIsRead) {
  for (const Form& form : kForms) {
    const Count got = count(form.member("0.jpg", "p") + form.member("0.txt", "t") +
                            form.member("s0.input.jpg", "p") + form.member("s0.outputs.txt", "t") +
                            form.member("2.svg", "p") + form.member("2.txt", "t") +
                            form.member("4.jpg", "p") + form.member("4.caption", "t") + tar_end());
    EXPECT_EQ(got.whole, 1u) << form.name;
    EXPECT_EQ(got.lost, 3u) << form.name;
    EXPECT_THAT(got.faults, HasSubstr("s0 holds nothing that is read, but .input.jpg, .outputs.txt;"
                                      " a sample is a picture (.jpg, .jpeg, .png, .webp, .gif"));
    EXPECT_THAT(got.faults, HasSubstr(".avif, .heic or .heif), but .svg"));
    EXPECT_THAT(got.faults, HasSubstr("4 has no text (.txt or .json), but .caption"));
  }
  const Count apple = count(tar_member("d/._1.jpg", "m") + tar_member("d/1.jpg", "p") + tar_end());
  EXPECT_THAT(apple.faults, HasSubstr("COPYFILE_DISABLE=1"));
}

TEST_F(TarSamplesTest, NamesWhatASampleLacks) {
  const Count got =
      count(tar_member("0.jpg", "p") + tar_member("1.txt", "t") + tar_member("2.jpg", "p") +
            tar_member("2.png", "p") + tar_member("2.txt", "t") +
            tar_header({.name = "3.jpg", .link = "0.jpg", .type = '1'}) + tar_member("3.txt", "t") +
            tar_end());
  EXPECT_EQ(got.whole, 0u);
  EXPECT_EQ(got.lost, 4u);
  for (const char* what :
       {"0 has no text", "1 has no picture", "2 has two members like 2.png", "3 3.jpg is a link"}) {
    EXPECT_THAT(got.faults, HasSubstr(what));
  }
}

// Every bit of one shard in each form: no sample may vanish without being counted, whether the bit
// lies in a header, in pax records, in a long name, in a body or in the end mark.
TEST_F(TarSamplesTest, CountsAfterEveryFlippedBit) {
  for (const Form& form : kForms) {
    for (const auto& extensions :
         {std::vector<const char*>{"jpg", "txt"}, std::vector<const char*>{"txt", "jpg", "json"}}) {
      const Shard shard = make_shard(form, extensions);
      ASSERT_EQ(count(shard.bytes).whole, kSamples);
      // All bits of one sample in the middle, a few of the others.
      Random random(1);
      for (std::size_t byte = 0; byte < shard.bytes.size(); ++byte) {
        const bool middle = byte >= shard.sample_starts[2] && byte < shard.sample_starts[3];
        if (!middle && random.below(16) != 0) continue;
        std::string damaged = shard.bytes;
        damaged[byte] = static_cast<char>(damaged[byte] ^ (1 << random.below(8)));
        const Count got = count(damaged);
        // A member whose name has become one of another sample's counts as that sample too.
        const bool another = got.faults.find("holds nothing that is read") != std::string::npos;
        ASSERT_EQ(got.whole + got.lost, kSamples + another)
            << form.name << ", byte " << byte << "\n"
            << got.faults;
        ASSERT_LE(got.lost, (moves_a_member(shard, damaged, byte) ? 2u : 1u) + another)
            << form.name << ", byte " << byte << "\n"
            << got.faults;
      }
    }
  }
}

// Of samples in two neighbouring headers at once, and of whole samples that lost all headers.
TEST_F(TarSamplesTest, CountsSamplesThatVanish) {
  for (const Form& form : kForms) {
    const Shard shard = make_shard(form, {"jpg", "txt"});
    for (std::size_t first = 0; first < kSamples; ++first) {
      for (std::size_t last = first; last < kSamples; ++last) {
        std::string damaged = shard.bytes;
        for (std::size_t at = 0; at < shard.bytes.size(); at += kTarBlock) {
          const bool inside = at >= shard.sample_starts[first] &&
                              (last + 1 == kSamples || at < shard.sample_starts[last + 1]);
          const auto block = std::as_bytes(std::span(shard.bytes)).subspan(at, kTarBlock);
          if (inside && parse_tar_header(block)) damaged[at + 140] ^= 1;
        }
        if (first == 0 && last + 1 == kSamples) {
          EXPECT_THROW(count(damaged), Error);
          continue;
        }
        const Count got = count(damaged);
        ASSERT_EQ(got.whole, kSamples - (last - first + 1)) << form.name;
        if (form.prefix.empty() && std::string_view(form.name) == "ustar") {
          ASSERT_EQ(got.lost, last - first + 1) << form.name << first << last << got.faults;
        }
      }
    }
  }
}

// A truncated shard loses its tail alone: all samples before are whole, the one that is cut is
// counted.
TEST_F(TarSamplesTest, LosesOnlyTheTail) {
  for (const Form& form : kForms) {
    const Shard shard = make_shard(form, {"jpg", "txt"});
    std::set<std::size_t> cuts;
    for (std::size_t at = 0; at <= shard.bytes.size(); at += kTarBlock) {
      for (const std::size_t cut : {at - 1, at, at + 1, at + 6, at + 100, at + 300})
        cuts.insert(cut);
    }
    for (const std::size_t cut : cuts) {
      if (cut < kTarBlock || cut > shard.bytes.size()) continue;
      const std::string bytes = shard.bytes.substr(0, cut);
      std::size_t started = 0;
      for (const std::size_t start : shard.sample_starts) started += start < cut ? 1 : 0;
      const Count got = count(bytes);
      ASSERT_EQ(got.whole + got.lost, started) << form.name << ", cut at " << cut << got.faults;
      ASSERT_LE(got.lost, 1u);
      const bool has_mark = cut > shard.block_ends.back();
      ASSERT_EQ(got.cut_off.empty(), has_mark) << cut << got.cut_off;
    }
  }
}

}  // namespace
}  // namespace blip2
