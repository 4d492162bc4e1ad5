#include "blip2/text/sentencepiece_internal.h"

#include <bit>
#include <cmath>

#include "blip2/base/error.h"
#include "blip2/io/byte_reader.h"
#include "blip2/text/unicode.h"

namespace blip2 {
namespace {

// Protocol Buffers' wire format.
enum class Wire : std::uint32_t { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };

struct Field {
  std::uint32_t number;
  Wire wire;
  std::uint64_t value;  // of varint and fixed types
  std::span<const std::byte> bytes;
};

std::uint64_t read_varint(ByteReader& reader) {
  std::uint64_t value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    const auto byte = reader.read<std::uint8_t>("a number");
    value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
  reader.fail("expected a number of at most 10 bytes, got a longer one");
}

Field read_field(ByteReader& reader) {
  const std::uint64_t key = read_varint(reader);
  Field field{static_cast<std::uint32_t>(key >> 3), static_cast<Wire>(key & 7), 0, {}};
  if (field.wire == Wire::varint) {
    field.value = read_varint(reader);
  } else if (field.wire == Wire::fixed64) {
    field.value = reader.read<std::uint64_t>("a field");
  } else if (field.wire == Wire::fixed32) {
    field.value = reader.read<std::uint32_t>("a field");
  } else if (field.wire == Wire::bytes) {
    field.bytes = reader.take(read_varint(reader), "a field");
  } else {
    reader.fail(
        "expected a field of a SentencePiece model, got wire type " + std::to_string(key & 7),
        "is this a SentencePiece .model file?");
  }
  return field;
}

// Calls visit(field, reader) for every field of a message.
template <typename Visit>
void for_each_field(std::span<const std::byte> bytes, const std::string& where, std::uint64_t base,
                    const Visit& visit) {
  ByteReader reader(bytes, where, base);
  while (reader.remaining() > 0) visit(read_field(reader), reader);
}

std::uint64_t start_of(const Field& field, const ByteReader& reader) {
  return reader.offset() - field.bytes.size();
}

void expect(const Field& field, Wire wire, const char* what, const ByteReader& reader) {
  if (field.wire != wire) reader.fail(std::string(what) + " has another type than expected");
}

std::string text_of(const Field& field) {
  return {reinterpret_cast<const char*>(field.bytes.data()), field.bytes.size()};
}

SentencePieceModel::Piece read_piece(std::span<const std::byte> bytes, const std::string& where,
                                     std::uint64_t base) {
  SentencePieceModel::Piece piece;
  for_each_field(bytes, where, base, [&](const Field& field, const ByteReader& reader) {
    if (field.number == 1) {
      expect(field, Wire::bytes, "a piece's text", reader);
      piece.text = text_of(field);
      if (to_valid_utf8(piece.text) != piece.text) reader.fail("a piece's text is not UTF-8");
    } else if (field.number == 2) {
      expect(field, Wire::fixed32, "a piece's score", reader);
      piece.score = std::bit_cast<float>(static_cast<std::uint32_t>(field.value));
      if (!std::isfinite(piece.score)) reader.fail("a piece's score is not a number");
    } else if (field.number == 3) {
      expect(field, Wire::varint, "a piece's type", reader);
      if (field.value < 1 || field.value > 6) {
        reader.fail("expected a piece's type from 1 to 6, got " + std::to_string(field.value));
      }
      piece.type = static_cast<SentencePieceModel::PieceType>(field.value);
    }
  });
  return piece;
}

void read_trainer(std::span<const std::byte> bytes, const std::string& where, std::uint64_t base,
                  SentencePieceModel& model) {
  for_each_field(bytes, where, base, [&](const Field& field, const ByteReader& reader) {
    if (field.number == 3) {
      expect(field, Wire::varint, "the model's type", reader);
      if (field.value != 1 && field.value != 2) {
        reader.fail("the model's type is " + std::to_string(field.value),
                    "supported: 1 (unigram), 2 (BPE)");
      }
      model.kind = static_cast<SentencePieceModel::Kind>(field.value);
    } else if (field.number == 40) {
      expect(field, Wire::varint, "the unknown token's id", reader);
      model.unknown_id = static_cast<std::int32_t>(field.value);
    }
  });
}

}  // namespace

SentencePieceModel read_sentencepiece(std::span<const std::byte> bytes, const std::string& where) {
  SentencePieceModel model;
  for_each_field(bytes, where, 0, [&](const Field& field, const ByteReader& reader) {
    if (field.number < 1 || field.number > 3) return;
    expect(field, Wire::bytes, "a part", reader);
    const std::uint64_t start = start_of(field, reader);
    if (field.number == 1) {
      model.pieces.push_back(read_piece(field.bytes, where, start));
    } else if (field.number == 2) {
      read_trainer(field.bytes, where, start, model);
    } else {
      for_each_field(field.bytes, where, start, [&](const Field& part, const ByteReader& inner) {
        if (part.number != 2) return;
        expect(part, Wire::bytes, "the precompiled charsmap", inner);
        model.charsmap = text_of(part);
      });
    }
  });
  if (model.pieces.empty()) {
    throw Error("no pieces", where, "is this a SentencePiece .model file?");
  }
  return model;
}

}  // namespace blip2
