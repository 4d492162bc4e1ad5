#include "blip2/retrieval/picture_search.h"

#include <ATen/ops/softmax.h>
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "blip2/base/content_hash.h"
#include "blip2/base/error.h"
#include "blip2/base/file.h"
#include "blip2/base/interrupt.h"
#include "blip2/base/log.h"
#include "blip2/base/progress.h"

namespace blip2 {
namespace {

// An index of this machine.
class LocalPlace : public SearchPlace {
 public:
  LocalPlace(std::shared_ptr<const PictureIndex> index, std::size_t threads)
      : index_(std::move(index)), threads_(threads) {}

  const IndexIdentity& identity() const override { return index_->identity(); }
  std::int64_t pictures() const override { return index_->pictures(); }
  std::optional<std::string> value(const std::string& key) override { return index_->value(key); }

  std::vector<FoundPicture> find(std::span<const SearchTerm> terms,
                                 const SearchChoices& choices) override {
    const bool all = choices.filter.passes_all();
    const WantedBits wanted = all ? WantedBits{} : index_->wanted_by(choices.filter);
    const auto parts = all ? index_->parts() : index_->parts(wanted);
    std::vector<FoundPicture> found;
    for (const Hit& hit : best_pictures(parts, terms, choices.top, threads_,
                                        choices.exact ? ScanWay::kFull : ScanWay::kPruned)) {
      const std::int64_t picture = index_->picture_at(hit.part, hit.row);
      found.push_back({index_->facts(picture),
                       index_->files_of(picture),
                       hit.term_scores,
                       hit.score,
                       {},
                       {},
                       index_->vectors_of(picture)});
    }
    return found;
  }

  std::optional<std::vector<float>> vectors_of(const ContentHash& content) override {
    const auto picture = index_->picture_of(content);
    if (!picture) return std::nullopt;
    return index_->vectors_of(*picture);
  }

 private:
  std::shared_ptr<const PictureIndex> index_;
  std::size_t threads_;
};

std::vector<float> to_floats(const at::Tensor& tensor) {
  const at::Tensor values = tensor.to(at::kFloat).contiguous();
  const auto* data = values.const_data_ptr<float>();
  return {data, data + values.numel()};
}

bool is_one_text(std::span<const TypedTerm> terms) {
  return terms.size() == 1 && !terms[0].is_picture && terms[0].weight > 0;
}

// Files below the filter's folder alone, if it names one.
void keep_folder(const std::string& folder, std::vector<FileFacts>& files) {
  if (folder.empty()) return;
  const std::string below = folder.back() == '/' ? folder : folder + '/';
  std::erase_if(files, [&](const FileFacts& file) { return !file.path.starts_with(below); });
}

}  // namespace

std::unique_ptr<SearchPlace> search_place(std::shared_ptr<const PictureIndex> index,
                                          std::size_t threads) {
  return std::make_unique<LocalPlace>(std::move(index), threads);
}

std::string fit_value(const FitScale& fit, std::int64_t pictures) {
  return nlohmann::json{{"pictures", pictures}, {"scale", fit.to_text()}}.dump();
}

std::optional<FitScale> fit_of_value(const std::optional<std::string>& value,
                                     std::int64_t pictures) {
  if (!value) return std::nullopt;
  const nlohmann::json object = nlohmann::json::parse(*value, nullptr, false);
  need(object.is_object() && object.contains("pictures") &&
           object["pictures"].is_number_integer() && object.contains("scale") &&
           object["scale"].is_string(),
       "expected pictures and scale", "index: fit");
  const double then = object["pictures"].get<double>(), now = static_cast<double>(pictures);
  if (now < 0.7 * then || now > 1.5 * then) return std::nullopt;
  return FitScale::from_text(object["scale"].get<std::string>());
}

PictureSearch::PictureSearch(const RetrievalModel& model, const std::string& hash,
                             SearchPlace& place)
    : model_(model), place_(place) {
  const IndexIdentity& identity = place.identity();
  if (identity.model_hash != hash) {
    throw Error(
        fmt::format("the index was made with another model, that of {}", identity.model_folder),
        "search", "name that model, or make the index anew with blip2 index --rebuild");
  }
  fit_ = fit_of_value(place.value(kFitKey), place.pictures());
}

void PictureSearch::measure_fit() {
  if (fit_) return;
  std::vector<std::string> vocabulary;
  for (std::int32_t id = 0; id < model_.tokenizer().size(); ++id) {
    vocabulary.push_back(model_.tokenizer().piece(id));
  }
  const std::vector<std::string> words = bank_words(vocabulary);
  std::vector<float> bank;
  const auto width = static_cast<std::size_t>(place_.identity().shape.width);
  for (std::size_t at = 0; at < words.size(); at += 64) {
    const auto some = std::span(words).subspan(at, std::min<std::size_t>(64, words.size() - at));
    const auto vectors = to_floats(model_.embed_texts(model_.tokenize(some)));
    bank.insert(bank.end(), vectors.begin(), vectors.end());
  }
  Progress progress("measuring what fits", static_cast<std::int64_t>(words.size()));
  std::int64_t done = 0;
  const auto find = [this](std::span<const float> text) {
    const SearchTerm term{{text.begin(), text.end()}, 1};
    SearchChoices choices;
    choices.top = FitScale::kHits;
    std::vector<FitScale::Found> found;
    for (FoundPicture& one : place_.find(std::span(&term, 1), choices)) {
      found.push_back({one.term_scores[0], std::move(one.vectors)});
    }
    return found;
  };
  fit_.emplace(std::move(bank), width, find, [&] {
    if (interrupted()) throw Interrupted{};
    progress.update(++done);
  });
  progress.finish();
}

std::vector<float> PictureSearch::picture_vectors(const std::string& path) const {
  const std::string file = read_file(path, std::uint64_t{1} << 30);
  const ContentHash content = content_hash(std::as_bytes(std::span(file)));
  if (auto known = place_.vectors_of(content)) return *known;
  const ImageFeatures features = model_.images().encode(std::span(&path, 1));
  return to_floats(model_.embed_images(model_.project_images(features)));
}

std::vector<SearchTerm> PictureSearch::vectors_of(std::span<const TypedTerm> terms) const {
  std::vector<SearchTerm> found;
  for (const TypedTerm& term : terms) {
    if (term.is_picture) {
      found.push_back({picture_vectors(term.text), term.weight});
    } else {
      const TextRows rows = model_.tokenize(std::span(&term.text, 1));
      found.push_back({to_floats(model_.embed_texts(rows)), term.weight});
    }
  }
  return found;
}

PictureAnswer PictureSearch::answer(std::span<const TypedTerm> terms,
                                    const SearchChoices& choices) const {
  const bool one_text = is_one_text(terms);
  SearchChoices wider = choices;
  wider.top = std::max(choices.top, one_text ? std::max(choices.rerank, FitScale::kHits) : 0);
  PictureAnswer answer{place_.find(vectors_of(terms), wider), {}};
  if (one_text && fit_) {
    std::vector<float> lowered;
    for (FoundPicture& one : answer.pictures) {
      const float own = fit_->lowered({one.term_scores[0], one.vectors});
      one.probability = fit_->probability(own);
      if (lowered.size() < FitScale::kHits) lowered.push_back(own);
    }
    answer.probability = fit_->probability(FitScale::evidence(std::move(lowered)));
  }
  if (one_text) rerank(terms[0].text, choices.rerank, answer.pictures);
  if (answer.pictures.size() > choices.top) answer.pictures.resize(choices.top);
  for (FoundPicture& one : answer.pictures) keep_folder(choices.filter.folder, one.files);
  return answer;
}

// As retrieval is re-ranked (ranking.h): matching's logit plus the cosine, before all others. A
// picture that cannot be read any more keeps its place by contrast behind the re-ranked ones.
void PictureSearch::rerank(const std::string& text, std::size_t most,
                           std::vector<FoundPicture>& found) const {
  std::vector<std::string> paths;
  for (std::size_t i = 0; i < std::min(most, found.size()); ++i) {
    paths.push_back(found[i].files.empty() ? "" : found[i].files[0].path);
  }
  if (paths.empty()) return;
  const ReadPictures read = model_.images().encode_readable(paths);
  for (const std::string& failure : read.failures) {
    if (!failure.empty()) log_warning("{}", failure);
  }
  if (read.good.empty()) return;
  const TextRows rows = model_.tokenize(std::span(&text, 1));
  Pairs pairs;
  for (std::size_t i = 0; i < read.good.size(); ++i) {
    pairs.images.push_back(static_cast<std::int64_t>(i));
    pairs.texts.push_back(0);
  }
  const at::Tensor logits = model_.match(model_.project_images(read.features), rows, pairs);
  const auto match = to_floats(logits.select(1, 1));
  const auto probability = to_floats(at::softmax(logits, 1).select(1, 1));
  std::vector<std::pair<float, FoundPicture>> first;
  std::vector<bool> good(found.size());
  for (std::size_t i = 0; i < read.good.size(); ++i) {
    FoundPicture& one = found[read.good[i]];
    one.itm = probability[i];
    good[read.good[i]] = true;
    first.emplace_back(match[i] + one.sum, std::move(one));
  }
  std::stable_sort(first.begin(), first.end(),
                   [](const auto& a, const auto& b) { return a.first > b.first; });
  std::vector<FoundPicture> ordered;
  for (auto& [score, one] : first) ordered.push_back(std::move(one));
  for (std::size_t i = 0; i < found.size(); ++i) {
    if (!good[i]) ordered.push_back(std::move(found[i]));
  }
  found = std::move(ordered);
}

}  // namespace blip2
