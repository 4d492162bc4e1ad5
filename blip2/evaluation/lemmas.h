#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace blip2 {

// The form that an English word in lower case shares with its plural, its third person, its past
// and its -ing form: "boxes" to "box", "running" to "run". It is found by rules and lists of
// exceptions, without a dictionary: the result need not be a word ("scissors" to "scissor"), but it
// is the same for all forms of a word. The endings are those that WordNet's morphy detaches
// (wordnet.princeton.edu, morphy(7)):
//
//   -s: kept in words of three letters and after s, u, i (glass, bus, tennis); -ies to -y; -oes,
//   -sses, -shes, -ches, -xes, -zzes, -tzes lose -es; so does -uses after a consonant in words of
//   more than one syllable (viruses); -men to -man; else the s goes.
//   -ing, -ed: cut where a vowel stays (king, sled keep theirs); -ied to -y, -eed stays. Of the
//   stem a doubled consonant becomes one (running; not ss, ff, zz, nor ll in one syllable), or an e
//   comes back (making, dancing, juggling, decorated) as the source lists it.
std::string lemma_of(std::string_view word);

// The lemmas of a text's words, in order.
std::vector<std::string> lemmas_of(std::string_view text);

}  // namespace blip2
