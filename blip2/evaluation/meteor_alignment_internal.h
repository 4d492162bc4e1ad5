#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "blip2/evaluation/meteor_paraphrases_internal.h"

namespace blip2 {

// The properties of a word that METEOR's stages compare.
struct MeteorWord {
  std::int32_t key = 0, stem = 0;       // words or stems of one hash are the same
  bool function = false;                // a function word counts for less
  std::vector<std::uint32_t> synonyms;  // its synonym sets, in order
};

// The stages: exact, stem, synonym, paraphrase.
constexpr std::size_t kMeteorStages = 4;

// How a candidate and a reference are aligned; what METEOR adds up over captions.
struct MeteorCounts {
  double candidate = 0, reference = 0;                    // words
  double candidate_function = 0, reference_function = 0;  // function words among them
  struct Stage {                                          // matched words
    double candidate = 0, reference = 0;
    double candidate_function = 0, reference_function = 0;
  };
  std::array<Stage, kMeteorStages> stages{};
  double chunks = 0;  // runs of matched words in the same order

  MeteorCounts& operator+=(const MeteorCounts& other);
};

// The alignment of METEOR 1.5 (Denkowski and Lavie 2014): of all ways to match words and phrases
// the one that covers the most, in the fewest chunks, at the shortest distances, by a beam search
// of 40 from left to right over the reference. Given numbers of `words`.
MeteorCounts align_meteor(std::span<const std::uint32_t> candidate,
                          std::span<const std::uint32_t> reference,
                          std::span<const MeteorWord> words, const MeteorParaphrases& paraphrases);

}  // namespace blip2
