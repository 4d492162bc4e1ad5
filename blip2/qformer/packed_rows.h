#pragma once

#include <cstdint>
#include <vector>

#include "blip2/nn/kernels/arguments.h"

namespace blip2 {

// One row of a pass: queries on a picture, a text, or both together.
struct PassRow {
  std::int64_t image = -1;  // the queries read this picture; -1: no queries
  std::int64_t text = -1;   // index into the pass's texts; -1: no text
  std::int64_t prefix =
      -1;               // a text alone sees this picture's queries of an earlier pass; -1: none
  bool causal = false;  // causal attention: text sees earlier text only
  // The queries also read this text's states of a language model; -1: none.
  std::int64_t language = -1;
  enum class Text { none, first, all } wanted_text = Text::none;  // text rows that the result has
};

// A map from input rows to output rows: output row o continues input row source[o].
struct Continuation {
  std::vector<std::int32_t> source;
  bool identity = false;  // source[o] == o for all o, and inputs == outputs()
  std::int64_t inputs = 0;
  std::int64_t outputs() const { return static_cast<std::int64_t>(source.size()); }
};

// The packed rows of one layer: rows of queries come first, then rows of text.
struct PackedLayer {
  std::vector<AttentionSegment> self, cross;
  Continuation after_self;                                          // maps all rows
  Continuation after_cross;                                         // maps the queries' rows
  std::int64_t self_query_rows = 0, query_rows = 0, text_rows = 0;  // results of the layer's parts
};

// The packed rows that each layer computes. Equal rows are computed once and unused rows never: a
// text is the same in all its rows until it has seen a picture's queries.
struct PackedRows {
  std::vector<PackedLayer> layers;
  bool has_queries = false;
  // Indices of rows in the last layer's result, in the order of the pass's rows.
  std::vector<std::int64_t> query_blocks;  // first row of each row's queries
  std::vector<std::int64_t> text_rows;     // every wanted text row
};

struct PackShape {
  std::int64_t layers, cross_attention_frequency, queries;
  std::vector<std::int64_t> positions;  // of each picture, one picture's after another's
  std::vector<std::int64_t> text_lengths;
  // The number of a language model's states of each text. If there are any, cross-attention has
  // them as its keys and the pictures' as external ones.
  std::vector<std::int64_t> language_lengths = {};
};
PackedRows pack_rows(const std::vector<PassRow>& rows, const PackShape& shape);

}  // namespace blip2
