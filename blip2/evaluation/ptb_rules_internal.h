#pragma once

#include <span>
#include <string_view>

#include "blip2/evaluation/pattern_internal.h"

namespace blip2 {

// How the text that a rule matched is changed.
enum class PtbEdit {
  keep,
  skip,            // no token
  newline,         // the end of a caption
  no_soft_hyphen,  // U+00AD goes
  ampersand,       // &amp; becomes &
  quotes,          // typographic quotes become the Treebank's
  no_break,        // spaces become U+00A0, parentheses -LRB- and -RRB-
  brackets,        // parentheses alone
  fraction,        // ½ becomes 1/2 and the like
  currency,        // ¢ becomes cents, £ #, the euro $
  fixed            // always the rule's text
};

// A rule of the Penn Treebank tokenisation: of all rules the one that matches the most text counts,
// including the text that has to follow; of equal matches the first rule counts.
struct PtbRule {
  std::string_view pattern;  // in pattern_internal.h's notation
  PtbEdit edit = PtbEdit::keep;
  std::string_view follows = {};    // pattern of the text that has to follow the token
  std::size_t given_back = 0;       // number of last units that are not in the token,
  std::u16string_view before = {};  // or the token ends before the last of these units,
  std::size_t length = 0;           // or the token has this length
  std::string_view text = {};       // of a fixed token
};

// The rules of Stanford's PTBTokenizer as of CoreNLP 3.4.1 with its default options, as far as they
// make a difference to caption metrics, which drop full stops, quotes and dashes; and the names
// that they refer to.
std::span<const PtbRule> ptb_rules();
PatternNames ptb_names();

// Letters, marks that count as letters, and decimal digits of the Basic Multilingual Plane as that
// program knows them (Unicode 6).
CharSet ptb_letters();
CharSet ptb_marks();
CharSet ptb_digits();

}  // namespace blip2
