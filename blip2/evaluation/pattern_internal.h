#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "blip2/evaluation/char_set_internal.h"

namespace blip2 {

// The names to which a pattern may refer as {name}: other patterns and sets of characters.
struct PatternNames {
  std::map<std::string, std::string, std::less<>> patterns;
  std::map<std::string, CharSet, std::less<>> sets;
};

// A nondeterministic automaton over UTF-16 code units that patterns are added to. Thompson's
// construction (CACM 1968): a node either reads one unit of a set or goes on to up to two nodes.
struct PatternNodes {
  static constexpr int kNone = -1;
  struct Node {
    int set = kNone;                        // the set of which it reads a unit
    int next = kNone, alternative = kNone;  // where it goes on
    int pattern = kNone;                    // the pattern that is complete here
  };
  std::vector<Node> nodes;
  std::vector<CharSet> sets;  // all different

  // Adds a pattern; gives the node where it starts. The pattern's text is ASCII:
  //   a       the letter in either case, with the odd letters whose other case it is
  //   [a-z]   a set, [^a-z] its complement, in the very case; \uXXXX and \x escape
  //   {name}  a named pattern or set
  //   (…) | * + ? {m,n}   as in regular expressions
  // Throws Error if the pattern is malformed.
  int add(std::string_view pattern, int number, const PatternNames& names);
};

}  // namespace blip2
