#include "blip2/evaluation/english_stemmer_internal.h"

#include <algorithm>
#include <utility>

namespace blip2 {
namespace {

using View = std::u16string_view;

struct Ending {
  View from, to;
};

constexpr Ending kWholeWords[] = {
    {u"skis", u"ski"},    {u"skies", u"sky"},  {u"dying", u"die"},    {u"lying", u"lie"},
    {u"tying", u"tie"},   {u"idly", u"idl"},   {u"gently", u"gentl"}, {u"ugly", u"ugli"},
    {u"early", u"earli"}, {u"only", u"onli"},  {u"singly", u"singl"}, {u"sky", u"sky"},
    {u"news", u"news"},   {u"howe", u"howe"},  {u"atlas", u"atlas"},  {u"cosmos", u"cosmos"},
    {u"bias", u"bias"},   {u"andes", u"andes"}};
// After step 1a these are stems.
constexpr View kStems[] = {u"inning",  u"outing",  u"canning", u"herring",
                           u"earring", u"proceed", u"exceed",  u"succeed"};

// In the order of length, so that the longest counts. An empty `to` drops the ending.
constexpr Ending kStep2[] = {
    {u"ational", u"ate"}, {u"fulness", u"ful"}, {u"iveness", u"ive"}, {u"ization", u"ize"},
    {u"ousness", u"ous"}, {u"biliti", u"ble"},  {u"lessli", u"less"}, {u"tional", u"tion"},
    {u"alism", u"al"},    {u"aliti", u"al"},    {u"ation", u"ate"},   {u"entli", u"ent"},
    {u"fulli", u"ful"},   {u"iviti", u"ive"},   {u"ousli", u"ous"},   {u"abli", u"able"},
    {u"alli", u"al"},     {u"anci", u"ance"},   {u"ator", u"ate"},    {u"enci", u"ence"},
    {u"izer", u"ize"},    {u"bli", u"ble"},     {u"ogi", u"og"},      {u"li", u""}};
constexpr Ending kStep3[] = {{u"ational", u"ate"}, {u"tional", u"tion"}, {u"alize", u"al"},
                             {u"icate", u"ic"},    {u"iciti", u"ic"},    {u"ative", u""},
                             {u"ical", u"ic"},     {u"ness", u""},       {u"ful", u""}};
constexpr View kStep4[] = {u"ement", u"ance", u"ence", u"able", u"ible", u"ment",
                           u"ant",   u"ent",  u"ism",  u"ate",  u"iti",  u"ous",
                           u"ive",   u"ize",  u"ion",  u"al",   u"er",   u"ic"};

bool is_one_of(View set, char16_t c) {
  return set.find(c) != set.npos;
}

bool is_vowel(char16_t c) {
  return is_one_of(u"aeiouy", c);
}

class EnglishStemmer {
 public:
  explicit EnglishStemmer(View word) : word_(word) {}

  std::u16string run() {
    mark_consonant_y();
    mark_regions();
    plurals();
    if (std::find(std::begin(kStems), std::end(kStems), word_) == std::end(kStems)) {
      past_and_ing();
      final_y();
      step2();
      step3();
      step4();
      step5();
    }
    std::replace(word_.begin(), word_.end(), u'Y', u'y');
    return std::move(word_);
  }

 private:
  bool ends(View ending) const { return View(word_).ends_with(ending); }
  std::size_t start_of(View ending) const { return word_.size() - ending.size(); }
  void replace(View ending, View by) { word_.replace(start_of(ending), ending.size(), by); }
  bool vowel_before(std::size_t end) const {
    return std::any_of(word_.begin(), word_.begin() + static_cast<std::ptrdiff_t>(end), is_vowel);
  }
  template <std::size_t N>
  const Ending* longest(const Ending (&endings)[N]) const {
    const auto found = std::find_if(std::begin(endings), std::end(endings),
                                    [&](const Ending& ending) { return ends(ending.from); });
    return found == std::end(endings) ? nullptr : &*found;
  }

  // A y at the beginning or after a vowel is a consonant; written as Y until the end.
  void mark_consonant_y() {
    if (word_[0] == u'\'') word_.erase(0, 1);
    for (std::size_t i = 0; i < word_.size(); ++i) {
      if (word_[i] == u'y' && (i == 0 || is_vowel(word_[i - 1]))) word_[i] = u'Y';
    }
  }

  // After the first consonant that follows a vowel at or after `begin`.
  std::size_t region(std::size_t begin) const {
    std::size_t at = begin;
    while (at < word_.size() && !is_vowel(word_[at])) ++at;
    while (at < word_.size() && is_vowel(word_[at])) ++at;
    return std::min(at + 1, word_.size());
  }

  void mark_regions() {
    r1_ = region(0);
    for (const View begin : {View(u"gener"), View(u"commun"), View(u"arsen")}) {
      if (word_.starts_with(begin)) r1_ = begin.size();
    }
    r2_ = region(r1_);
  }

  // Whether the word ends in a short syllable.
  bool is_short() const {
    const std::size_t n = word_.size();
    if (n < 2 || is_vowel(word_[n - 1]) || !is_vowel(word_[n - 2])) return false;
    if (n == 2) return true;
    return !is_vowel(word_[n - 3]) && !is_one_of(u"wxY", word_[n - 1]);
  }

  void plurals() {
    for (const View ending : {View(u"'s'"), View(u"'s"), View(u"'")}) {
      if (!ends(ending)) continue;
      replace(ending, u"");
      break;
    }
    if (ends(u"sses")) {
      replace(u"sses", u"ss");
    } else if (ends(u"ied") || ends(u"ies")) {
      word_.resize(word_.size() - (word_.size() > 4 ? 2 : 1));
    } else if (ends(u"s") && !ends(u"us") && !ends(u"ss") && word_.size() > 1 &&
               vowel_before(word_.size() - 2)) {
      word_.pop_back();
    }
  }

  void past_and_ing() {
    for (const View ending : {View(u"eedly"), View(u"eed")}) {
      if (!ends(ending)) continue;
      if (start_of(ending) >= r1_) replace(ending, u"ee");
      return;
    }
    for (const View ending : {View(u"ingly"), View(u"edly"), View(u"ing"), View(u"ed")}) {
      if (!ends(ending)) continue;
      if (vowel_before(start_of(ending))) {
        replace(ending, u"");
        mend_stem();
      }
      return;
    }
  }

  void mend_stem() {
    const std::size_t n = word_.size();
    const bool doubled =
        n >= 2 && word_[n - 1] == word_[n - 2] && is_one_of(u"bdfgmnprt", word_[n - 1]);
    if (ends(u"at") || ends(u"bl") || ends(u"iz")) {
      word_ += u'e';
    } else if (doubled) {
      word_.pop_back();
    } else if (n == r1_ && is_short()) {
      word_ += u'e';
    }
  }

  void final_y() {
    const std::size_t n = word_.size();
    const bool y = n > 2 && (word_[n - 1] == u'y' || word_[n - 1] == u'Y');
    if (y && !is_vowel(word_[n - 2])) word_[n - 1] = u'i';
  }

  void step2() {
    const Ending* ending = longest(kStep2);
    if (ending == nullptr || start_of(ending->from) < r1_) return;
    const std::size_t start = start_of(ending->from);
    const char16_t before = start > 0 ? word_[start - 1] : u' ';
    if (ending->from == u"ogi" && before != u'l') return;
    if (ending->from == u"li" && !is_one_of(u"cdeghkmnrt", before)) return;
    replace(ending->from, ending->to);
  }

  void step3() {
    const Ending* ending = longest(kStep3);
    if (ending == nullptr || start_of(ending->from) < r1_) return;
    if (ending->from == u"ative" && start_of(ending->from) < r2_) return;
    replace(ending->from, ending->to);
  }

  void step4() {
    for (const View ending : kStep4) {
      if (!ends(ending)) continue;
      const std::size_t start = start_of(ending);
      const bool after_st = start > 0 && is_one_of(u"st", word_[start - 1]);
      if (start >= r2_ && (ending != u"ion" || after_st)) word_.resize(start);
      return;
    }
  }

  void step5() {
    if (word_.empty()) return;
    const std::size_t last = word_.size() - 1;
    if (ends(u"l") && last >= r2_ && last > 0 && word_[last - 1] == u'l') {
      word_.pop_back();
    } else if (ends(u"e") && last >= r1_) {
      word_.pop_back();
      if (last < r2_ && is_short()) word_ += u'e';
    }
  }

  std::u16string word_;
  std::size_t r1_ = 0, r2_ = 0;
};

}  // namespace

std::u16string english_stem(std::u16string_view word) {
  if (word.size() < 3) return std::u16string(word);
  for (const Ending& whole : kWholeWords) {
    if (word == whole.from) return std::u16string(whole.to);
  }
  return EnglishStemmer(word).run();
}

}  // namespace blip2
