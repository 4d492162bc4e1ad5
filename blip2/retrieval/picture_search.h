#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "blip2/model/retrieval_model.h"
#include "blip2/search/fit.h"
#include "blip2/search/picture_facts.h"
#include "blip2/search/picture_index.h"
#include "blip2/search/terms.h"

namespace blip2 {

// A picture that was found.
struct FoundPicture {
  PictureFacts facts;
  std::vector<FileFacts> files;       // that have it and pass the filter's folder, by path
  std::vector<float> term_scores;     // of each term: a text's cosine, a picture's mean cosine
  float sum = 0;                      // of the terms' scores times their weights
  std::optional<double> itm;          // probability of a match, if it was re-ranked
  std::optional<double> probability;  // that it fits, if the search is one text (FitScale)
  std::vector<float> vectors;         // [Q, E]; empty if the place of the search does not give them
};

struct SearchChoices {
  std::size_t top = 10;
  std::size_t rerank = 0;  // by matching: so many of the best, if the search is one text
  PictureFilter filter;
  bool exact = false;  // every picture's bytes, without bounds or candidates
};

// Where is searched: an index of this machine, or copies of some in Postgres.
class SearchPlace {
 public:
  virtual ~SearchPlace() = default;
  virtual const IndexIdentity& identity() const = 0;
  virtual std::int64_t pictures() const = 0;
  // The best pictures by contrast, best first.
  virtual std::vector<FoundPicture> find(std::span<const SearchTerm> terms,
                                         const SearchChoices& choices) = 0;
  virtual std::optional<std::vector<float>> vectors_of(const ContentHash& content) = 0;
  virtual std::optional<std::string> value(const std::string& key) = 0;
};
std::unique_ptr<SearchPlace> search_place(std::shared_ptr<const PictureIndex> index,
                                          std::size_t threads);

// The key of an index's values that keeps a FitScale and the number of pictures that it was made
// with.
inline constexpr char kFitKey[] = "fit";

struct PictureAnswer {
  std::vector<FoundPicture> pictures;  // best first
  std::optional<double> probability;   // that any of the index's pictures fits the one text
};

// Searches by a model. For one thread at a time: each call uses LibTorch's threads.
class PictureSearch {
 public:
  // `model` and `place` must outlive the object. Error if the place's vectors are another model's;
  // `hash` is the model's (index_identity).
  PictureSearch(const RetrievalModel& model, const std::string& hash, SearchPlace& place);

  // Makes the scale of probabilities, unless the place has one that was made with about as many
  // pictures. It takes a search for each of some hundred words.
  void measure_fit();
  const std::optional<FitScale>& fit() const { return fit_; }

  // Texts are embedded, pictures read; those that the index has are not read. Error naming a
  // picture that cannot be read.
  std::vector<SearchTerm> vectors_of(std::span<const TypedTerm> terms) const;
  PictureAnswer answer(std::span<const TypedTerm> terms, const SearchChoices& choices) const;

 private:
  std::vector<float> picture_vectors(const std::string& path) const;
  void rerank(const std::string& text, std::size_t most, std::vector<FoundPicture>& found) const;

  const RetrievalModel& model_;
  SearchPlace& place_;
  std::optional<FitScale> fit_;
};

// The scale of an index's probabilities as its values keep it.
std::string fit_value(const FitScale& fit, std::int64_t pictures);
// The scale if `value` has one that was made with 0.7 to 1.5 times as many pictures.
std::optional<FitScale> fit_of_value(const std::optional<std::string>& value,
                                     std::int64_t pictures);

}  // namespace blip2
