#include "blip2/serving/picture_cache_internal.h"

#include <gtest/gtest.h>

namespace blip2 {
namespace {

KnownPicture features(float value) {
  KnownPicture picture;
  picture.features = at::full({1, 2, 5}, value);  // 40 bytes
  return picture;
}

TEST(PictureCacheTest, WhatWasNotUsedForLongestGoes) {
  PictureCache cache(100);
  cache.put({1, 0}, features(1));
  cache.put({2, 0}, features(2));
  EXPECT_TRUE(cache.find({1, 0}).features.defined());
  cache.put({0, 1}, features(3));
  EXPECT_FALSE(cache.find({2, 0}).features.defined());
  EXPECT_EQ(cache.find({1, 0}).features[0][0][0].item<float>(), 1);
  EXPECT_EQ(cache.find({0, 1}).features[0][0][0].item<float>(), 3);
  EXPECT_EQ(cache.bytes(), 80);
  KnownPicture soft;
  soft.soft = at::zeros({1, 1, 15});
  cache.put({1, 0}, soft);  // 100 bytes with what is known, the other one goes
  EXPECT_EQ(cache.pictures(), 1);
  EXPECT_EQ(cache.bytes(), 100);
  EXPECT_TRUE(cache.find({1, 0}).features.defined() && cache.find({1, 0}).soft.defined());
}

TEST(PictureCacheTest, HoldsNothingThatDoesNotFit) {
  PictureCache cache(30);
  cache.put({1, 0}, features(1));
  EXPECT_EQ(cache.bytes(), 0);
  EXPECT_FALSE(cache.find({1, 0}).features.defined());
}

}  // namespace
}  // namespace blip2
