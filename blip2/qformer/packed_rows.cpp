#include "blip2/qformer/packed_rows.h"

#include <algorithm>
#include <array>
#include <map>
#include <tuple>

namespace blip2 {
namespace {

using Key = std::array<std::int64_t, 5>;

// Equal rows so far: the first row of each pass row's queries and text in the layer's input.
struct Places {
  std::vector<std::int64_t> queries, text;
};

class Planner {
 public:
  Planner(const std::vector<PassRow>& rows, const PackShape& shape) : rows_(rows), shape_(shape) {
    for (const std::int64_t count : shape.positions) pictures_.push_back(pictures_.back() + count);
    for (std::int64_t length : shape.language_lengths) {
      language_starts_.push_back(language_starts_.back() + length);
    }
  }

  PackedRows plan() {
    PackedRows packed;
    for (const PassRow& row : rows_) packed.has_queries |= row.image >= 0;
    begin(packed.has_queries);
    for (std::int64_t layer = 0; layer < shape_.layers; ++layer) {
      packed.layers.push_back(pack_layer(layer));
    }
    finish(packed);
    return packed;
  }

 private:
  std::int64_t length(const PassRow& row) const { return shape_.text_lengths[row.text]; }

  // All pictures begin with the same queries; a text is where it lies among the texts.
  void begin(bool has_queries) {
    std::vector<std::int64_t> starts{has_queries ? shape_.queries : 0};
    for (std::int64_t length : shape_.text_lengths) starts.push_back(starts.back() + length);
    for (const PassRow& row : rows_) {
      places_.queries.push_back(row.image >= 0 ? 0 : -1);
      places_.text.push_back(row.text >= 0 ? starts[row.text] : -1);
    }
    inputs_ = starts.back();
  }

  PackedLayer pack_layer(std::int64_t layer) {
    const bool last = layer + 1 == shape_.layers;
    layer_ = layer;
    PackedLayer packed;
    const Places before = places_;
    packed.after_self.inputs = inputs_;
    self_queries(before, packed);
    packed.self_query_rows = packed.after_self.outputs();
    if (layer % shape_.cross_attention_frequency == 0) {
      cross_queries(packed);
    } else {
      packed.query_rows = packed.self_query_rows;
    }
    self_texts(before, last, packed);
    packed.text_rows = packed.after_self.outputs() - packed.self_query_rows;
    // The layer's result: queries after cross-attention, then text.
    for (std::int64_t& place : places_.text) {
      if (place >= 0) place += packed.query_rows - packed.self_query_rows;
    }
    inputs_ = packed.query_rows + packed.text_rows;
    set_identity(packed.after_self);
    set_identity(packed.after_cross);
    gather_keys(packed.self);
    gather_keys(packed.cross);
    return packed;
  }

  // Segments with the same keys become neighbours.
  static void gather_keys(std::vector<AttentionSegment>& segments) {
    std::stable_sort(segments.begin(), segments.end(),
                     [](const AttentionSegment& a, const AttentionSegment& b) {
                       return std::tie(a.external, a.a_begin, a.b_begin, a.b_count) <
                              std::tie(b.external, b.a_begin, b.b_begin, b.b_count);
                     });
  }

  static void set_identity(Continuation& rows) {
    rows.identity = rows.inputs == rows.outputs();
    for (std::int64_t o = 0; rows.identity && o < rows.outputs(); ++o) {
      rows.identity = rows.source[o] == o;
    }
  }

  static void append(Continuation& rows, std::int64_t from, std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i) {
      rows.source.push_back(static_cast<std::int32_t>(from + i));
    }
  }

  void self_queries(const Places& before, PackedLayer& packed) {
    std::map<Key, std::int64_t> known;
    for (std::size_t r = 0; r < rows_.size(); ++r) {
      if (rows_[r].image < 0) continue;
      const Key key{before.queries[r], before.text[r], 0, 0, 0};
      const auto [found, fresh] = known.try_emplace(key, packed.after_self.outputs());
      if (fresh) {
        packed.self.push_back(segment(before, r, before.queries[r], shape_.queries, found->second));
        append(packed.after_self, before.queries[r], shape_.queries);
      }
      places_.queries[r] = found->second;
    }
  }

  void self_texts(const Places& before, bool last, PackedLayer& packed) {
    std::map<Key, std::int64_t> known;
    for (std::size_t r = 0; r < rows_.size(); ++r) {
      const PassRow& row = rows_[r];
      if (row.text < 0) continue;
      const bool unused = last && row.wanted_text == PassRow::Text::none;
      places_.text[r] = -1;
      if (unused) continue;
      const std::int64_t count = last && row.wanted_text == PassRow::Text::first ? 1 : length(row);
      const Key key{before.queries[r], before.text[r], row.prefix, row.causal, count};
      const auto [found, fresh] = known.try_emplace(key, packed.after_self.outputs());
      if (fresh) {
        AttentionSegment s = segment(before, r, before.text[r], count, found->second);
        s.causal = row.causal;
        packed.self.push_back(s);
        append(packed.after_self, before.text[r], count);
      }
      places_.text[r] = found->second;
    }
  }

  // The keys of row r: its queries (or the prefix's), then its text.
  AttentionSegment segment(const Places& before, std::size_t r, std::int64_t from,
                           std::int64_t count, std::int64_t to) const {
    const PassRow& row = rows_[r];
    const bool external = row.prefix >= 0;
    // In layer 0 the queries of all pictures are still the same rows, in the prefix too.
    const std::int64_t prefix = layer_ == 0 ? 0 : row.prefix * shape_.queries;
    const std::int64_t a = external ? prefix : before.queries[r];
    const auto narrow = [](std::int64_t x) { return static_cast<std::int32_t>(x); };
    return {.q_begin = narrow(from),
            .q_count = narrow(count),
            .o_begin = narrow(to),
            .a_begin = narrow(std::max<std::int64_t>(a, 0)),
            .a_count = narrow(external || row.image >= 0 ? shape_.queries : 0),
            .b_begin = narrow(std::max<std::int64_t>(before.text[r], 0)),
            .b_count = narrow(row.text >= 0 ? length(row) : 0),
            .causal = false,
            .external = external};
  }

  void cross_queries(PackedLayer& packed) {
    std::map<Key, std::int64_t> known;
    packed.after_cross.inputs = packed.self_query_rows;
    const auto narrow = [](std::int64_t x) { return static_cast<std::int32_t>(x); };
    for (std::size_t r = 0; r < rows_.size(); ++r) {
      if (rows_[r].image < 0) continue;
      const std::int64_t language = rows_[r].language;
      const Key key{places_.queries[r], rows_[r].image, language, 0, 0};
      const auto [found, fresh] = known.try_emplace(key, packed.after_cross.outputs());
      if (fresh) {
        const bool reads = language >= 0;
        packed.cross.push_back({.q_begin = narrow(places_.queries[r]),
                                .q_count = narrow(shape_.queries),
                                .o_begin = narrow(found->second),
                                .a_begin = narrow(pictures_[rows_[r].image]),
                                .a_count = narrow(shape_.positions[rows_[r].image]),
                                .b_begin = narrow(reads ? language_starts_[language] : 0),
                                .b_count = narrow(reads ? shape_.language_lengths[language] : 0),
                                .causal = false,
                                .external = !shape_.language_lengths.empty()});
        append(packed.after_cross, places_.queries[r], shape_.queries);
      }
      places_.queries[r] = found->second;
    }
    packed.query_rows = packed.after_cross.outputs();
  }

  void finish(PackedRows& packed) const {
    for (std::size_t r = 0; r < rows_.size(); ++r) {
      const PassRow& row = rows_[r];
      if (row.image >= 0) packed.query_blocks.push_back(places_.queries[r]);
      if (row.text < 0 || row.wanted_text == PassRow::Text::none) continue;
      const std::int64_t count = row.wanted_text == PassRow::Text::first ? 1 : length(row);
      for (std::int64_t t = 0; t < count; ++t) packed.text_rows.push_back(places_.text[r] + t);
    }
  }

  const std::vector<PassRow>& rows_;
  const PackShape& shape_;
  std::vector<std::int64_t> pictures_{0};         // each one's first position
  std::vector<std::int64_t> language_starts_{0};  // of each text's states
  Places places_;
  std::int64_t inputs_ = 0, layer_ = 0;
};

}  // namespace

PackedRows pack_rows(const std::vector<PassRow>& rows, const PackShape& shape) {
  return Planner(rows, shape).plan();
}

}  // namespace blip2
