#pragma once

#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "blip2/evaluation/pattern_internal.h"

namespace blip2 {

// Finds which of many patterns (pattern_internal.h) matches the most text at a place. It is a
// deterministic automaton that grows with the texts it reads, so each thread needs its own.
class PatternAutomaton {
 public:
  PatternAutomaton(std::span<const std::string> patterns, const PatternNames& names);

  struct Match {
    std::size_t end;  // after the matched text
    int pattern;      // the first of the longest matches; PatternNodes::kNone if none matches
  };
  Match longest(std::u16string_view text, std::size_t begin);

  std::size_t states() const { return states_.size(); }

 private:
  struct State {
    std::vector<int> nodes;  // those that read a unit, in order
    int pattern;
  };
  int state_of(std::vector<int> reached);
  int grow(int state, unsigned char unit_class);

  PatternNodes nodes_;
  CharClasses classes_;
  std::vector<State> states_;
  std::vector<int> next_;  // [state][class]: a state, or one of the two below
  std::map<std::pair<std::vector<int>, int>, int> known_;
  int start_;
};

}  // namespace blip2
