#include "blip2/evaluation/meteor_internal.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>

#include "blip2/base/error.h"
#include "blip2/base/file.h"
#include "blip2/base/parallel.h"
#include "blip2/evaluation/english_stemmer_internal.h"
#include "blip2/evaluation/meteor_synonyms_internal.h"
#include "blip2/evaluation/meteor_words_internal.h"
#include "blip2/io/zip.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;

constexpr char kJar[] = "meteor-1.5.jar", kParaphrases[] = "data/paraphrase-en.gz";
constexpr std::size_t kChunk = 256;  // captions that a thread takes at once

// The files of the package; the jar is a zip archive.
class MeteorFiles {
 public:
  explicit MeteorFiles(const fs::path& data)
      : jar_(fs::is_directory(data) ? data / kJar : data), archive_(MappedFile::open(jar_)) {
    if (fs::is_regular_file(paraphrases())) return;
    throw Error("expected METEOR's paraphrases there, found none", paraphrases().string(),
                "name the folder meteor of an installed pycocoevalcap");
  }

  std::string text(const char* name) const {
    constexpr std::uint64_t kMost = 64u << 20;
    return read_zip_file(archive_->bytes(), name, kMost, jar_.string());
  }
  fs::path paraphrases() const { return jar_.parent_path() / kParaphrases; }

 private:
  fs::path jar_;
  std::shared_ptr<const MappedFile> archive_;
};

using Words = std::vector<std::string>;
using CaptionWords = std::vector<std::uint32_t>;

// The captions' words, on several threads.
std::vector<Words> split_all(std::span<const std::string_view> texts,
                             const MeteorTokeniser& tokeniser, std::size_t threads) {
  std::vector<Words> words(texts.size());
  parallel_for((texts.size() + kChunk - 1) / kChunk, threads, [&](std::size_t chunk) {
    for (std::size_t i = chunk * kChunk; i < std::min(texts.size(), (chunk + 1) * kChunk); ++i) {
      words[i] = tokeniser.words(texts[i]);
    }
  });
  return words;
}

// Captions as numbers of words, and the words by their numbers.
struct NumberedCaptions {
  WordNumbers numbers;
  std::vector<CaptionWords> captions;

  void add(const Words& words) {
    CaptionWords& caption = captions.emplace_back();
    for (const std::string& word : words) {
      const auto fresh = static_cast<std::uint32_t>(numbers.size());
      caption.push_back(numbers.try_emplace(word, fresh).first->second);
    }
  }
};

std::vector<MeteorWord> describe_words(const WordNumbers& numbers, const MeteorFiles& files) {
  const MeteorSynonyms synonyms(files.text("synonym/english.synsets"),
                                files.text("synonym/english.exceptions"));
  std::unordered_set<std::string> function_words;
  const std::string list = files.text("function/english.words");
  for (std::string_view rest = list; !rest.empty();) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    function_words.emplace(line);
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
  }
  std::vector<MeteorWord> words(numbers.size());
  for (const auto& [text, number] : numbers) {
    const std::u16string units = to_utf16(text);
    words[number] = {java_hash(units), java_hash(english_stem(units)),
                     function_words.contains(text), synonyms.of(text)};
  }
  return words;
}

// Whether candidate and reference are the same to METEOR.
bool is_perfect(const MeteorCounts& counts) {
  double candidate = 0, reference = 0;
  for (const MeteorCounts::Stage& stage : counts.stages) {
    candidate += stage.candidate + stage.candidate_function;
    reference += stage.reference + stage.reference_function;
  }
  return candidate == counts.candidate && reference == counts.reference && counts.chunks == 1;
}

// Those of the reference that gives the best score, the first of equals.
MeteorCounts best_counts(const CaptionWords& candidate, std::span<const CaptionWords> references,
                         std::span<const MeteorWord> words, const MeteorParaphrases& paraphrases) {
  MeteorCounts best;
  double best_score = -1;
  for (const CaptionWords& reference : references) {
    MeteorCounts counts = align_meteor(candidate, reference, words, paraphrases);
    if (is_perfect(counts)) counts.chunks = 0;  // such a caption adds no fragments to a set's
    const double score = meteor_of(counts);
    if (score > best_score) {
      best = counts;
      best_score = score;
    }
  }
  return best;
}

// What METEOR's command takes for references: "|||" parts them.
void append_references(std::string_view text, std::vector<std::string_view>& out) {
  constexpr std::string_view kParting = "|||";
  for (std::size_t end = 0; (end = text.find(kParting)) != text.npos;) {
    out.push_back(text.substr(0, end));
    text.remove_prefix(end + kParting.size());
  }
  out.push_back(text);
}

}  // namespace

double meteor_of(const MeteorCounts& counts) {
  constexpr double kAlpha = 0.85, kBeta = 0.2, kGamma = 0.6, kDelta = 0.75;
  constexpr std::array<double, kMeteorStages> kWeights{1, 0.6, 0.8, 0.6};
  const auto weighted = [](double content, double function) {
    return kDelta * content + (1 - kDelta) * function;
  };
  double candidate = 0, reference = 0, matches = 0;
  for (std::size_t i = 0; i < kMeteorStages; ++i) {
    const MeteorCounts::Stage& stage = counts.stages[i];
    candidate += kWeights[i] * weighted(stage.candidate, stage.candidate_function);
    reference += kWeights[i] * weighted(stage.reference, stage.reference_function);
    matches +=
        (stage.candidate + stage.candidate_function + stage.reference + stage.reference_function) /
        2;
  }
  if (candidate == 0 || reference == 0) return 0;
  const auto weighted_length = [&](double words, double function) {
    return weighted(words - function, function);
  };
  const double precision = candidate / weighted_length(counts.candidate, counts.candidate_function);
  const double recall = reference / weighted_length(counts.reference, counts.reference_function);
  const double mean = 1 / ((1 - kAlpha) / precision + kAlpha / recall);
  const double fragmentation = std::pow(counts.chunks / matches, kBeta);
  return std::max(0., mean * (1 - kGamma * fragmentation));
}

std::vector<MeteorCounts> count_meteor(CaptionTexts candidates,
                                       std::span<const CaptionTexts> references,
                                       const fs::path& data, std::size_t threads) {
  const MeteorFiles files(data);
  std::vector<std::string_view> texts(candidates.begin(), candidates.end());
  std::vector<std::size_t> ends;  // of each caption's references in `texts`
  for (const CaptionTexts& some : references) {
    for (const std::string& text : some) append_references(text, texts);
    ends.push_back(texts.size());
  }
  const MeteorTokeniser tokeniser(files.text("nonbreaking/english.prefixes"));
  NumberedCaptions all;
  for (const Words& words : split_all(texts, tokeniser, threads)) all.add(words);
  const std::vector<MeteorWord> words = describe_words(all.numbers, files);
  const MeteorParaphrases paraphrases(files.paraphrases(), all.numbers);
  std::vector<MeteorCounts> counts(candidates.size());
  parallel_for((counts.size() + kChunk - 1) / kChunk, threads, [&](std::size_t chunk) {
    for (std::size_t i = chunk * kChunk; i < std::min(counts.size(), (chunk + 1) * kChunk); ++i) {
      const std::size_t begin = i == 0 ? candidates.size() : ends[i - 1];
      counts[i] =
          best_counts(all.captions[i], std::span(all.captions).subspan(begin, ends[i] - begin),
                      words, paraphrases);
    }
  });
  return counts;
}

}  // namespace blip2
