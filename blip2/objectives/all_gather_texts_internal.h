#pragma once

#include "blip2/processes/ranks.h"
#include "blip2/qformer/text_rows.h"

namespace blip2 {

// All-gather of texts: the texts of all processes, in the order of the ranks. Collective.
TextRows all_gather_texts(const Ranks& ranks, const TextRows& text);

}  // namespace blip2
