#pragma once

#include <cstdint>
#include <vector>

#include "blip2/qformer/packed_rows.h"
#include "blip2/qformer/pass.h"

namespace blip2 {

// The rows of the Q-Former's passes. Error if an index lies outside or counts differ.

// Queries on each picture.
std::vector<PassRow> picture_rows(std::int64_t images);
// Each text by itself.
std::vector<PassRow> text_rows(const TextRows& text, PassRow::Text wanted);
// Queries on the picture of each pair, together with its text.
std::vector<PassRow> pair_rows(const Pairs& pairs, std::int64_t images, std::int64_t texts,
                               bool with_text);
// Adds texts with causal attention to the queries of an earlier pass; the first of them has the
// index `first_text` among the pass's texts.
void add_generated(std::vector<PassRow>& rows, const TextRows& text,
                   const std::vector<std::int64_t>& pictures, std::int64_t first_text,
                   const QueryStates& queries);
// `language` if any of its `texts` texts has states to read, otherwise nullptr.
const LanguageKeysValues* states_to_read(const LanguageKeysValues* language, std::int64_t texts);

}  // namespace blip2
