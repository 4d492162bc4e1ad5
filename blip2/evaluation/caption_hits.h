#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "blip2/evaluation/interval.h"

namespace blip2 {

// The head noun of a title, which names its subject, as a lemma (lemma_of): the last word of the
// title's first phrase. Articles in front do not count. The phrase ends before a comma, bracket,
// slash, "&", "+" or dash; before a preposition, conjunction or relative pronoun ("of", "with",
// "and", "that", …), "is", "are", "has", "wearing" and the like; and before an -ing form that no
// noun follows ("a dog sitting in …"). Words at its end without a letter or of one letter are
// dropped ("cat 2", "letter b"), unless nothing else is left. Lemmas that are `generic` are taken
// out of the title first: without "face" and "flag", "dog face" is about a dog and "flag of France"
// about France. Empty if no word is left.
std::string head_noun(std::string_view title, std::span<const std::string> generic = {});

// Whether a caption says what a picture shows: it contains the head noun of the title or one of the
// keywords, all compared as lemmas; a keyword of several words has to stand in the caption as a
// run. A keyword that is a `generic` lemma does not count.
bool is_hit(std::string_view caption, std::string_view title, std::span<const std::string> keywords,
            std::span<const std::string> generic = {});

// The 95 % interval of a share by Wilson's score (JASA 22, 1927); [0, 1] if total is 0.
Interval wilson_interval(std::size_t hits, std::size_t total);

}  // namespace blip2
