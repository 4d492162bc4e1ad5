#include "blip2/evaluation/lemmas.h"

#include <algorithm>
#include <iterator>
#include <optional>

#include "blip2/evaluation/text_words_internal.h"

namespace blip2 {
namespace {

// Forms and what they come from.
struct Form {
  std::string_view form, lemma;
};
constexpr Form kIrregular[] = {
    // plurals
    {"children", "child"},
    {"people", "person"},
    {"feet", "foot"},
    {"teeth", "tooth"},
    {"geese", "goose"},
    {"mice", "mouse"},
    {"lice", "louse"},
    {"oxen", "ox"},
    {"dice", "die"},
    {"knives", "knife"},
    {"wives", "wife"},
    {"lives", "life"},
    {"midwives", "midwife"},
    {"wolves", "wolf"},
    {"leaves", "leaf"},
    {"sheaves", "sheaf"},
    {"shelves", "shelf"},
    {"halves", "half"},
    {"calves", "calf"},
    {"loaves", "loaf"},
    {"thieves", "thief"},
    {"scarves", "scarf"},
    {"hooves", "hoof"},
    {"elves", "elf"},
    {"dwarves", "dwarf"},
    {"selves", "self"},
    {"cacti", "cactus"},
    {"fungi", "fungus"},
    {"octopi", "octopus"},
    {"nuclei", "nucleus"},
    {"alumni", "alumnus"},
    {"criteria", "criterion"},
    {"phenomena", "phenomenon"},
    {"bacteria", "bacterium"},
    {"vertices", "vertex"},
    {"indices", "index"},
    {"matrices", "matrix"},
    {"analyses", "analysis"},
    {"crises", "crisis"},
    {"axes", "axe"},
    {"buses", "bus"},
    {"gases", "gas"},
    {"lenses", "lens"},
    {"irises", "iris"},
    {"atlases", "atlas"},
    {"canvases", "canvas"},
    {"biases", "bias"},
    {"rhinoceroses", "rhinoceros"},
    {"quizzes", "quiz"},
    {"aches", "ache"},
    {"headaches", "headache"},
    {"toothaches", "toothache"},
    {"caches", "cache"},
    {"avalanches", "avalanche"},
    {"mustaches", "mustache"},
    {"moustaches", "moustache"},
    {"quiches", "quiche"},
    {"niches", "niche"},
    {"movies", "movie"},
    {"cookies", "cookie"},
    {"brownies", "brownie"},
    {"zombies", "zombie"},
    {"selfies", "selfie"},
    {"smoothies", "smoothie"},
    {"hoodies", "hoodie"},
    {"birdies", "birdie"},
    {"genies", "genie"},
    {"pixies", "pixie"},
    {"prairies", "prairie"},
    {"calories", "calorie"},
    {"rookies", "rookie"},
    {"shoes", "shoe"},
    {"snowshoes", "snowshoe"},
    {"horseshoes", "horseshoe"},
    {"toes", "toe"},
    {"tiptoes", "tiptoe"},
    {"mistletoes", "mistletoe"},
    {"canoes", "canoe"},
    {"oboes", "oboe"},
    {"hoes", "hoe"},
    {"foes", "foe"},
    {"does", "do"},
    {"skis", "ski"},
    {"taxis", "taxi"},
    {"bikinis", "bikini"},
    {"kiwis", "kiwi"},
    {"safaris", "safari"},
    {"emojis", "emoji"},
    {"tsunamis", "tsunami"},
    {"yetis", "yeti"},
    {"menus", "menu"},
    {"emus", "emu"},
    {"gurus", "guru"},
    {"tutus", "tutu"},
    {"excuses", "excuse"},
    {"refuses", "refuse"},
    {"amuses", "amuse"},
    {"accuses", "accuse"},
    {"confuses", "confuse"},
    // forms of verbs, save those that are words of their own (saw, left, rose, ground, bit, felt)
    {"ate", "eat"},
    {"eaten", "eat"},
    {"ran", "run"},
    {"sat", "sit"},
    {"stood", "stand"},
    {"held", "hold"},
    {"flew", "fly"},
    {"flown", "fly"},
    {"swam", "swim"},
    {"drove", "drive"},
    {"driven", "drive"},
    {"rode", "ride"},
    {"ridden", "ride"},
    {"wrote", "write"},
    {"written", "write"},
    {"broke", "break"},
    {"broken", "break"},
    {"wore", "wear"},
    {"worn", "wear"},
    {"slept", "sleep"},
    {"caught", "catch"},
    {"brought", "bring"},
    {"bought", "buy"},
    {"taught", "teach"},
    {"threw", "throw"},
    {"thrown", "throw"},
    {"grew", "grow"},
    {"grown", "grow"},
    {"drew", "draw"},
    {"drawn", "draw"},
    {"drank", "drink"},
    {"sang", "sing"},
    {"fallen", "fall"},
    {"frozen", "freeze"},
    {"hidden", "hide"},
    {"made", "make"},
    {"took", "take"},
    {"taken", "take"},
    {"gave", "give"},
    {"given", "give"},
    {"went", "go"},
    {"gone", "go"},
    {"lying", "lie"},
    {"dying", "die"},
    {"tying", "tie"},
    {"travelling", "travel"},
    {"travelled", "travel"},
    {"creating", "create"},
    {"created", "create"},
    {"guiding", "guide"},
    {"guided", "guide"},
};

// Words that look like a form and are none, or whose -ing form is a thing of its own.
constexpr std::string_view kWhole[] = {
    "gas",      "lens",      "atlas",    "canvas",   "christmas", "bias",     "chaos",
    "cosmos",   "news",      "series",   "species",  "always",    "perhaps",  "rhinoceros",
    "physics",  "texas",     "specimen", "omen",     "abdomen",   "regimen",  "ramen",
    "stamen",   "amen",      "cyclamen", "building", "ceiling",   "wedding",  "painting",
    "drawing",  "evening",   "morning",  "pudding",  "earring",   "herring",  "during",
    "nothing",  "something", "anything", "sibling",  "duckling",  "darling",  "everything",
    "viking",   "lightning", "sterling", "clothing", "icing",     "stocking", "dumpling",
    "frosting", "starling",  "shilling", "hundred",  "naked",     "wicked",   "sacred",
    "moped",    "bobsled",   "dogsled",  "biped",    "unused",    "embed"};

bool is_vowel(char c) {
  return std::string_view("aeiouy").find(c) != std::string_view::npos ||
         static_cast<unsigned char>(c) >= 0x80;
}

bool is_consonant(char c) {
  return c >= 'a' && c <= 'z' && !is_vowel(c);
}

// How often vowels begin in a word: its syllables, nearly. A y in front is none.
std::size_t vowel_groups(std::string_view word) {
  std::size_t groups = 0;
  bool before = false;
  for (std::size_t i = 0; i < word.size(); ++i) {
    const bool vowel = is_vowel(word[i]) && !(i == 0 && word[i] == 'y');
    groups += vowel && !before;
    before = vowel;
  }
  return groups;
}

bool ends_with_any(std::string_view word, std::initializer_list<std::string_view> endings) {
  return std::any_of(endings.begin(), endings.end(),
                     [&](std::string_view e) { return word.ends_with(e); });
}

// The lemma that the lists know.
std::optional<std::string> listed(std::string_view word) {
  if (std::find(std::begin(kWhole), std::end(kWhole), word) != std::end(kWhole)) {
    return std::string(word);
  }
  const auto form = std::find_if(std::begin(kIrregular), std::end(kIrregular),
                                 [&](const Form& f) { return f.form == word; });
  if (form == std::end(kIrregular)) return std::nullopt;
  return std::string(form->lemma);
}

std::string without_plural(std::string_view word) {
  const auto cut = [&](std::size_t bytes) {
    return std::string(word.substr(0, word.size() - bytes));
  };
  if (word.size() > 3 && word.ends_with("men")) return cut(2) + "an";
  if (word.size() <= 3 || !word.ends_with('s') || ends_with_any(word, {"ss", "us", "is"})) {
    return cut(0);
  }
  if (word.size() > 4 && word.ends_with("ies")) return cut(3) + "y";
  if (ends_with_any(word, {"oes", "sses", "shes", "ches", "xes", "zzes", "tzes"})) return cut(2);
  const bool virus = word.ends_with("uses") && word.size() > 5 &&
                     is_consonant(word[word.size() - 5]) && vowel_groups(cut(2)) > 1;
  return cut(virus ? 2 : 1);
}

// Whether the stem of a verb lost an e before -ing and -ed.
bool lost_e(std::string_view stem) {
  const std::size_t size = stem.size(), groups = vowel_groups(stem);
  const char last = stem[size - 1], before = stem[size - 2];
  if (size == 2) return !is_vowel(last);  // us-ing, ag-ing; but go-ing
  if (std::string_view("cvu").find(last) != std::string_view::npos)
    return true;                                           // danc-, wav-, argu-
  if (last == 'z') return true;                            // gaz-
  if (last == 's') return !(before == 'u' && groups > 1);  // clos-, nurs-; but focus-
  if (last == 'g' && std::string_view("drl").find(before) != std::string_view::npos)
    return true;  // judg-, charg-
  if (ends_with_any(stem, {"chang", "rang", "eng", "oung", "lung"})) return true;
  if (last == 'l' && is_consonant(before))
    return std::string_view("rw").find(before) == std::string_view::npos;  // juggl-
  const bool short_end = !is_vowel(last) && is_vowel(before) && !is_vowel(stem[size - 3]);
  if (!short_end) return false;  // walk-, eat-, play-
  if (groups == 1)
    return std::string_view("wxy").find(last) ==
           std::string_view::npos;  // mak-, hop-; hopping doubles
  return ends_with_any(stem, {"at", "ag", "ad", "id", "in", "ir", "ib", "ut", "ur"});
}

// The verb whose -ing or -ed form has this stem.
std::string verb_of(std::string_view stem) {
  const std::size_t size = stem.size();
  const char last = stem.back();
  if (last == stem[size - 2] && is_consonant(last)) {
    const bool of_the_verb = std::string_view("sfz").find(last) != std::string_view::npos ||
                             size == 3 ||                               // kiss-, add-
                             (last == 'l' && vowel_groups(stem) == 1);  // roll-
    return std::string(stem.substr(0, of_the_verb ? size : size - 1));
  }
  return std::string(stem) + (lost_e(stem) ? "e" : "");
}

std::string without_ending(std::string_view word) {
  const auto stem = [&](std::size_t bytes) { return word.substr(0, word.size() - bytes); };
  const auto is_stem = [](std::string_view text) {
    return text.size() > 1 && vowel_groups(text) > 0;
  };
  if (word.ends_with("ing") && is_stem(stem(3))) return verb_of(stem(3));
  if (word.size() > 4 && word.ends_with("ied")) return std::string(stem(3)) + "y";
  if (word.ends_with("eed")) return std::string(word);
  if (word.ends_with("ied")) return std::string(stem(1));  // tied
  if (word.ends_with("ed") && is_stem(stem(2))) return verb_of(stem(2));
  return std::string(word);
}

}  // namespace

std::string lemma_of(std::string_view word) {
  if (auto known = listed(word)) return *known;
  const std::string singular = without_plural(word);
  if (auto known = listed(singular)) return *known;
  return without_ending(singular);
}

std::vector<std::string> lemmas_of(std::string_view text) {
  std::vector<std::string> lemmas;
  for (const TextWord& word : words_of(text)) lemmas.push_back(lemma_of(word.text));
  return lemmas;
}

}  // namespace blip2
