#include "blip2/image/photograph.h"

#include <gtest/gtest.h>

#include <chrono>
#include <span>
#include <string>

#include "blip2/base/random.h"
#include "blip2/image/test_exif.h"

namespace blip2 {
namespace {

using namespace std::string_view_literals;

constexpr std::uint16_t kMaker = 0x010f, kModel = 0x0110, kOriginal = 0x9003, kDigitised = 0x9004;

CameraNotes notes_of(std::string_view exif) {
  return read_camera_notes(std::as_bytes(std::span(exif)));
}

CameraNotes notes(const std::vector<ExifField>& first, const std::vector<ExifField>& own) {
  return notes_of(ExifBlock(first, own).bytes());
}

std::string camera(std::string_view maker, std::string_view model) {
  return notes({{kMaker, maker}, {kModel, model}}, {{kOriginal, "2001:01:01 00:00:00"}}).camera;
}

std::optional<std::int64_t> taken(std::string_view date) {
  return notes({{kMaker, "Maker"}}, {{kOriginal, date}}).taken;
}

TEST(Photograph, NamesTheMakerOnce) {
  EXPECT_EQ(camera("Canon\0"sv, "Canon EOS R5\0"sv), "Canon EOS R5");
  EXPECT_EQ(camera("NIKON CORPORATION\0"sv, "NIKON D90\0"sv), "NIKON D90");
  EXPECT_EQ(camera("FUJIFILM", "X-T4"), "FUJIFILM X-T4");
  EXPECT_EQ(camera("samsung", "SAMSUNG-SM-G900"), "SAMSUNG-SM-G900");
  EXPECT_EQ(camera("Can", "Canopy 3"), "Can Canopy 3");
  EXPECT_EQ(camera("Leica", "\0\0\0\0\0"sv), "Leica");
  EXPECT_EQ(camera("    ", "Q2  \n "), "Q2");
  EXPECT_EQ(camera("Ap\tple \x01 Inc.", "iPhone"), "Ap ple Inc. iPhone");
}

TEST(Photograph, NamesAreUtf8) {
  EXPECT_EQ(camera("Fotogerätebau", "Zweiäugig"), "Fotogerätebau Zweiäugig");
  EXPECT_EQ(camera("K\xf6nig", "Eins"), "König Eins");  // Latin-1
  EXPECT_LE(camera(std::string(5000, 'x'), std::string(5000, '\xe4')).size(), 301u);
}

TEST(Photograph, DatesAreSecondsSince1970) {
  EXPECT_EQ(taken("1970:01:01 00:00:00"), 0);
  EXPECT_EQ(taken("1969:12:31 23:59:59\0"sv), -1);
  EXPECT_EQ(taken("2024:02:29 12:34:56\0"sv), 1709210096);
  EXPECT_EQ(taken("2024-02-29T12:34:56+02:00"), 1709210096);
  for (const char* bad :
       {"2023:02:29 12:34:56", "0000:00:00 00:00:00", "2024:13:01 00:00:00", "2024:01:01 24:00:00",
        "2024:01:01 00:60:00", "2024:01:01 00:00", "    :  :     :  :  ", "2024:1 :01 00:00:00"}) {
    EXPECT_EQ(taken(bad), std::nullopt) << bad;
  }
}

TEST(Photograph, TheOriginalDateBeatsTheDigitisedOne) {
  EXPECT_EQ(notes({}, {{kDigitised, "1970:01:01 00:00:02"}, {kOriginal, "1970:01:01 00:00:01"}}),
            (CameraNotes{1, ""}));
  EXPECT_EQ(notes({}, {{kOriginal, "never, it is broken"}, {kDigitised, "1970:01:01 00:00:02"}}),
            (CameraNotes{2, ""}));
}

TEST(Photograph, WhatIsNoExifHasNoNotes) {
  for (const std::string_view text : {""sv, "II"sv, "Exif\0\0"sv, "MM\0*\xff\xff\xff\xff"sv}) {
    EXPECT_EQ(notes_of(text), CameraNotes{});
  }
  // A directory that is its own directory of EXIF's entries.
  EXPECT_EQ(notes_of("II*\0\x08\0\0\0\x01\0\x69\x87\x04\0\x01\0\0\0\x08\0\0\0\0\0\0\0"sv),
            CameraNotes{});
}

// Whatever is in the block, it is read at once and what is read is short UTF-8.
TEST(Photograph, DamagedExifIsHarmless) {
  const std::string whole = ExifBlock({{kMaker, "Canon Incorporated"}, {kModel, "Canon EOS R5"}},
                                      {{kOriginal, "2024:02:29 12:34:56"}})
                                .bytes();
  Random random(5);
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < 20'000; ++i) {
    std::string damaged = whole.substr(0, 1 + random.below(whole.size()));
    for (std::uint64_t flips = random.below(6); flips > 0; --flips) {
      damaged[random.below(damaged.size())] = static_cast<char>(random.below(256));
    }
    EXPECT_LE(notes_of(damaged).camera.size(), 401u);
  }
  // 65,535 entries that all claim much.
  std::string many("II*\0\x08\0\0\0\xff\xff", 10);
  for (int i = 0; i < 65'535; ++i) many += "\x0f\x01\x02\0\xff\xff\xff\x7f\x08\0\0\0"sv;
  EXPECT_EQ(notes_of(many), CameraNotes{});
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
}

}  // namespace
}  // namespace blip2
