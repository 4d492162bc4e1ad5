#include "blip2/nn/kernels/emulated_tiles.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <stdexcept>
#include <string>
#include <thread>

namespace blip2 {
namespace {

constexpr int kTiles = 8, kRows = 16, kBytes = 64;  // of palette 1

struct Tile {
  int rows = 0, bytes = 0;
  std::uint8_t data[kRows][kBytes] = {};
};

thread_local std::array<Tile, kTiles> tiles;
thread_local bool shaped = false;

void fault_if(bool wrong, const char* what) {
  if (wrong) throw std::logic_error(what);
}

Tile& shaped_tile(int tile) {
  fault_if(!shaped, "tiles have no shapes");
  Tile& found = tiles.at(static_cast<std::size_t>(tile));
  fault_if(found.rows == 0, "a tile without rows");
  fault_if(found.bytes % 4 != 0, "a row is not whole numbers of 32 bits");
  return found;
}

std::int32_t number(const std::uint8_t* p) {
  std::int32_t value;
  std::memcpy(&value, p, sizeof(value));
  return value;
}

// sum + the products of four signed bytes each.
std::int32_t add_quads(std::int32_t sum, const std::uint8_t* left, const std::uint8_t* right) {
  for (int i = 0; i < 4; ++i) {
    sum += static_cast<std::int8_t>(left[i]) * static_cast<std::int8_t>(right[i]);
  }
  return sum;
}

}  // namespace

void EmulatedTiles::shape(const TileShapes& shapes) {
  const auto is_zero = [](int x) { return x == 0; };
  fault_if(shapes.palette != 1 || shapes.start != 0, "not palette 1 from its first row on");
  fault_if(!std::all_of(shapes.reserved, std::end(shapes.reserved), is_zero), "reserved bytes");
  fault_if(!std::all_of(shapes.bytes + kTiles, std::end(shapes.bytes), is_zero), "too many tiles");
  fault_if(!std::all_of(shapes.rows + kTiles, std::end(shapes.rows), is_zero), "too many tiles");
  std::array<Tile, kTiles> next;
  for (std::size_t i = 0; i < kTiles; ++i) {
    next[i].rows = shapes.rows[i], next[i].bytes = shapes.bytes[i];
    fault_if(next[i].rows > kRows || next[i].bytes > kBytes, "too large a tile");
    fault_if((next[i].rows == 0) != (next[i].bytes == 0), "rows without bytes");
  }
  tiles = next;
  shaped = true;
}

void EmulatedTiles::release() {
  tiles = {};
  shaped = false;
}

bool EmulatedTiles::released() {
  return !shaped;
}

void EmulatedTiles::zero(int tile) {
  Tile& to = shaped_tile(tile);
  std::memset(to.data, 0, sizeof(to.data));
}

void EmulatedTiles::load(int tile, const void* from, Int stride) {
  Tile& to = shaped_tile(tile);
  std::memset(to.data, 0, sizeof(to.data));
  for (int row = 0; row < to.rows; ++row) {
    std::memcpy(to.data[row], static_cast<const std::byte*>(from) + row * stride,
                static_cast<std::size_t>(to.bytes));
  }
}

void EmulatedTiles::store(int tile, void* to, Int stride) {
  const Tile& from = shaped_tile(tile);
  for (int row = 0; row < from.rows; ++row) {
    std::memcpy(static_cast<std::byte*>(to) + row * stride, from.data[row],
                static_cast<std::size_t>(from.bytes));
  }
}

void EmulatedTiles::multiply_bytes(int sum, int left, int right) {
  fault_if(sum == left || sum == right || left == right, "a tile twice");
  Tile& c = shaped_tile(sum);
  const Tile &a = shaped_tile(left), &b = shaped_tile(right);
  fault_if(c.rows != a.rows || c.bytes != b.bytes || a.bytes / 4 != b.rows, "shapes do not fit");
  for (int m = 0; m < c.rows; ++m) {
    for (int n = 0; n < c.bytes; n += 4) {
      std::int32_t total = number(c.data[m] + n);
      for (int k = 0; k < b.rows; ++k) total = add_quads(total, a.data[m] + 4 * k, b.data[k] + n);
      std::memcpy(c.data[m] + n, &total, sizeof(total));
    }
  }
}

namespace {

TileShapes shapes_of(std::initializer_list<std::array<int, 2>> rows_and_bytes) {
  TileShapes shapes;
  int i = 0;
  for (const auto& [rows, bytes] : rows_and_bytes) {
    shapes.rows[i] = static_cast<std::uint8_t>(rows);
    shapes.bytes[i++] = static_cast<std::uint16_t>(bytes);
  }
  return shapes;
}

// C [2, 1] += A [2, 8] B [8, 1], B as two rows of four neighbours.
TEST(EmulatedTiles, MultiplyByHand) {
  EmulatedTiles::shape(shapes_of({{2, 4}, {2, 8}, {2, 4}}));
  const std::int8_t a[2][8] = {{1, 2, 3, 4, 5, 6, 7, 8}, {-128, 127, 0, 0, 0, 0, 0, -1}};
  const std::int8_t b[2][4] = {{1, -1, 1, -1}, {0, 0, 10, -128}};
  std::int32_t c[2] = {1000, 0};
  EmulatedTiles::load<0>(c, 4);
  EmulatedTiles::load<1>(a, 8);
  EmulatedTiles::load<2>(b, 4);
  EmulatedTiles::multiply_bytes<0, 1, 2>();
  EmulatedTiles::store<0>(c, 4);
  EXPECT_EQ(c[0], 1000 + (1 - 2 + 3 - 4) + 7 * 10 + 8 * -128);
  EXPECT_EQ(c[1], -128 - 127 + 128);
  EmulatedTiles::release();
}

TEST(EmulatedTiles, NothingOutsideAShape) {
  EmulatedTiles::shape(shapes_of({{2, 8}}));
  std::uint8_t bytes[3][12];
  std::memset(bytes, 7, sizeof(bytes));
  EmulatedTiles::load<0>(bytes, 12);
  std::memset(bytes, 9, sizeof(bytes));
  EmulatedTiles::store<0>(bytes, 12);
  for (int row = 0; row < 3; ++row) {
    for (int i = 0; i < 12; ++i) EXPECT_EQ(bytes[row][i], row < 2 && i < 8 ? 7 : 9);
  }
  EmulatedTiles::zero<0>();
  EmulatedTiles::store<0>(bytes, 12);
  EXPECT_EQ(bytes[1][7], 0);
  EmulatedTiles::release();
}

TEST(EmulatedTiles, WhatFaultsOnAProcessorThrows) {
  const auto fails = [](const auto& f) { EXPECT_THROW(f(), std::logic_error); };
  fails([] { EmulatedTiles::zero<0>(); });
  fails([] { EmulatedTiles::shape(shapes_of({{17, 64}})); });
  fails([] { EmulatedTiles::shape(shapes_of({{16, 68}})); });
  fails([] { EmulatedTiles::shape(shapes_of({{16, 0}})); });
  TileShapes shapes = shapes_of({{4, 8}, {4, 8}, {2, 8}, {3, 8}});
  shapes.palette = 2;
  fails([&] { EmulatedTiles::shape(shapes); });
  shapes.palette = 1, shapes.rows[8] = 1, shapes.bytes[8] = 4;
  fails([&] { EmulatedTiles::shape(shapes); });
  shapes.rows[8] = 0, shapes.bytes[8] = 0;
  EXPECT_TRUE(EmulatedTiles::released());
  EmulatedTiles::shape(shapes);
  fails([] { EmulatedTiles::zero<4>(); });
  fails([] { EmulatedTiles::multiply_bytes<0, 0, 2>(); });
  fails([] { EmulatedTiles::multiply_bytes<0, 1, 3>(); });  // B's rows are not A's quads
  EmulatedTiles::multiply_bytes<0, 1, 2>();
  std::thread([&] { fails([] { EmulatedTiles::zero<0>(); }); }).join();  // shaped by another
  EmulatedTiles::release();
}

}  // namespace
}  // namespace blip2
