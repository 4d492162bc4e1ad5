#include "blip2/evaluation/pattern_automaton_internal.h"

#include <algorithm>
#include <utility>

namespace blip2 {
namespace {

constexpr int kDead = -1, kUnknown = -2;

}  // namespace

PatternAutomaton::PatternAutomaton(std::span<const std::string> patterns,
                                   const PatternNames& names) {
  std::vector<int> starts;
  for (std::size_t i = 0; i < patterns.size(); ++i) {
    starts.push_back(nodes_.add(patterns[i], static_cast<int>(i), names));
  }
  classes_ = classify(nodes_.sets);
  start_ = state_of(std::move(starts));
}

// The state of having reached these nodes and all to which they go on without reading.
int PatternAutomaton::state_of(std::vector<int> reached) {
  std::vector<bool> seen(nodes_.nodes.size());
  std::vector<int> reading;
  int pattern = PatternNodes::kNone;
  while (!reached.empty()) {
    const int at = reached.back();
    reached.pop_back();
    if (at == PatternNodes::kNone || seen[at]) continue;
    seen[at] = true;
    const auto& node = nodes_.nodes[at];
    if (node.set != PatternNodes::kNone) {
      reading.push_back(at);
      continue;
    }
    if (node.pattern != PatternNodes::kNone &&
        (pattern == PatternNodes::kNone || node.pattern < pattern)) {
      pattern = node.pattern;
    }
    reached.insert(reached.end(), {node.next, node.alternative});
  }
  if (reading.empty() && pattern == PatternNodes::kNone) return kDead;
  std::sort(reading.begin(), reading.end());
  const int fresh = static_cast<int>(states_.size());
  const auto [place, is_new] = known_.try_emplace({reading, pattern}, fresh);
  if (is_new) {
    states_.push_back({std::move(reading), pattern});
    next_.resize(next_.size() + classes_.count, kUnknown);
  }
  return place->second;
}

int PatternAutomaton::grow(int state, unsigned char unit_class) {
  std::vector<int> reached;
  for (const int at : states_[state].nodes) {
    const auto& node = nodes_.nodes[at];
    if (classes_.contains[node.set][unit_class]) reached.push_back(node.next);
  }
  const int next = state_of(std::move(reached));
  next_[state * classes_.count + unit_class] = next;
  return next;
}

PatternAutomaton::Match PatternAutomaton::longest(std::u16string_view text, std::size_t begin) {
  Match best{begin, PatternNodes::kNone};
  int state = start_;
  for (std::size_t i = begin; i < text.size(); ++i) {
    const unsigned char unit_class = classes_.of_unit[text[i]];
    const int next = next_[state * classes_.count + unit_class];
    state = next == kUnknown ? grow(state, unit_class) : next;
    if (state == kDead) break;
    if (states_[state].pattern != PatternNodes::kNone) best = {i + 1, states_[state].pattern};
  }
  return best;
}

}  // namespace blip2
