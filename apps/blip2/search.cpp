#include "blip2/retrieval/picture_search.h"

#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <ctime>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <thread>

#include "apps/blip2/found_pictures.h"
#include "apps/blip2/options.h"
#include "apps/blip2/verbs.h"
#include "blip2/base/error.h"
#include "blip2/base/file.h"
#include "blip2/base/interrupt.h"
#include "blip2/base/log.h"
#include "blip2/retrieval/index_identity.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;

// Texts that belong to no picture score less than the best picture shown in 95 of 100 cases.
constexpr double kLeastProbability = 0.95;

struct SearchVerbOptions {
  RunOptions run;
  std::string index, queries, html, after, before, larger, thumbnails = "auto";
  std::vector<std::string> terms;
  SearchChoices choices;
  std::optional<double> min_score;
  bool paths_only = false;
};

// "2024-05-17", "2024-05" or "2024" as seconds since 1970: where that span begins, or where it
// ends.
std::int64_t seconds_of_date(const std::string& text, bool end, const char* option) {
  int year = 0, month = 0, day = 0, used = 0;
  const int read = std::sscanf(text.c_str(), "%4d-%2d-%2d%n", &year, &month, &day, &used);
  const std::size_t length = read == 3 ? 10 : read == 2 ? 7 : 4;
  const bool fits = read >= 1 && text.size() == length && year >= 1000 &&
                    (read < 2 || (month >= 1 && month <= 12)) &&
                    (read < 3 || (day >= 1 && day <= 31));
  if (!fits)
    throw CLI::ValidationError(option,
                               "expected a date as 2024-05-17, 2024-05 or 2024, got " + text);
  std::tm date{};
  date.tm_year = year - 1900;
  date.tm_mon = read < 2 ? (end ? 12 : 0) : month - 1 + (end && read == 2 ? 1 : 0);
  date.tm_mday = read < 3 ? 1 : day + (end ? 1 : 0);
  return timegm(&date);
}

// "800" or "1920x1080": the shorter side of a picture.
std::int64_t side_of(const std::string& text) {
  std::int64_t width = 0, height = 0;
  int used = 0;
  if (std::sscanf(text.c_str(), "%lldx%lld%n", reinterpret_cast<long long*>(&width),
                  reinterpret_cast<long long*>(&height), &used) == 2 &&
      used == static_cast<int>(text.size()) && width > 0 && height > 0) {
    return std::min(width, height);
  }
  used = 0;
  if (std::sscanf(text.c_str(), "%lld%n", reinterpret_cast<long long*>(&width), &used) == 1 &&
      used == static_cast<int>(text.size()) && width > 0) {
    return width;
  }
  throw CLI::ValidationError("--larger",
                             "expected a number of pixels or WIDTHxHEIGHT, got " + text);
}

void settle(SearchVerbOptions& options) {
  PictureFilter& filter = options.choices.filter;
  if (!options.after.empty()) filter.after = seconds_of_date(options.after, false, "--after");
  if (!options.before.empty()) filter.before = seconds_of_date(options.before, true, "--before");
  if (!options.larger.empty()) filter.min_side = side_of(options.larger);
  if (!filter.folder.empty()) filter.folder = fs::weakly_canonical(filter.folder).string();
  if (options.terms.empty() == options.queries.empty()) {
    throw CLI::ValidationError("TERM", "expected terms, or --queries with a file of them");
  }
}

// Hits that fit well enough, and what is said if there are none.
std::vector<FoundPicture> fitting(PictureAnswer answer, const SearchVerbOptions& options,
                                  const std::string& asked) {
  const bool measured = answer.probability.has_value();
  if (!measured && !options.min_score) return std::move(answer.pictures);
  const double least = options.min_score.value_or(kLeastProbability);
  if (measured && *answer.probability < least) {
    log_line(fmt::format(
        "nothing fits \"{}\": {:.0f} of 100 texts that belong to no picture fit better; "
        "--min-score 0 shows the nearest ones",
        asked, std::floor(100 * (1 - *answer.probability))));
    return {};
  }
  std::erase_if(answer.pictures, [&](const FoundPicture& one) {
    return (measured ? one.probability.value_or(0) : double{one.sum}) < least;
  });
  if (answer.pictures.empty()) log_line("nothing fits \"" + asked + "\"");
  return std::move(answer.pictures);
}

class Searcher {
 public:
  explicit Searcher(const SearchVerbOptions& options)
      : options_(options), index_(PictureIndex::open(options.index)) {
    const std::string folder =
        options.run.model.empty() ? index_->identity().model_folder : options.run.model;
    const std::string hash = index_identity(folder, options.run.pictures).model_hash;
    apply_threads(options.run.threads);
    model_ = std::make_unique<RetrievalModel>(folder, options.run.precision,
                                              bridge_type(options.run), options.run.pictures);
    place_ = search_place(index_, threads());
    search_ = std::make_unique<PictureSearch>(*model_, hash, *place_);
    if (index_->pictures() == 0) log_warning("{}: the index has no pictures", options.index);
  }

  std::vector<FoundPicture> find(const std::vector<std::string>& typed) {
    std::vector<TypedTerm> terms;
    for (const std::string& one : typed) terms.push_back(read_term(one));
    if (terms.size() == 1 && !terms[0].is_picture && options_.min_score != 0) measure_fit();
    return fitting(search_->answer(terms, options_.choices), options_,
                   fmt::format("{}", fmt::join(typed, " ")));
  }

 private:
  // What was measured stays with the index, unless somebody else writes it or it is read-only.
  void measure_fit() {
    if (search_->fit() || index_->pictures() == 0) return;
    search_->measure_fit();
    try {
      IndexWriter writer(options_.index, index_->identity());
      writer.set_value(kFitKey, fit_value(*search_->fit(), index_->pictures()));
      writer.commit();
    } catch (const Error&) {
    }
  }

  std::size_t threads() const {
    if (options_.run.threads > 0) return static_cast<std::size_t>(options_.run.threads);
    return std::max<std::size_t>(1, std::thread::hardware_concurrency());
  }

  const SearchVerbOptions& options_;
  std::shared_ptr<const PictureIndex> index_;
  std::unique_ptr<RetrievalModel> model_;
  std::unique_ptr<SearchPlace> place_;
  std::unique_ptr<PictureSearch> search_;
};

void search(const SearchVerbOptions& options) {
  const FoundPrinter printer(options.run.json, options.paths_only, options.thumbnails);
  if (!options.html.empty()) require_place(options.html);
  const at::InferenceMode inference;
  Searcher searcher(options);
  FoundPage page;
  if (options.queries.empty()) {
    const auto found = searcher.find(options.terms);
    printer.print(found, std::nullopt);
    page.add(fmt::format("{}", fmt::join(options.terms, " ")), found);
  } else {
    for (const std::string& query : read_lines(options.queries)) {
      if (interrupted()) throw Interrupted{};
      const auto found = searcher.find({query});
      printer.print(found, query);
      page.add(query, found);
    }
  }
  if (!options.html.empty()) write_file(options.html, page.html());
}

void add_filters(CLI::App& verb, SearchVerbOptions& options) {
  PictureFilter& filter = options.choices.filter;
  verb.add_option("--folder", filter.folder, "Only pictures below this folder");
  verb.add_option("--after", options.after,
                  "Only pictures taken then or later: 2024-05-17, 2024-05 or 2024");
  verb.add_option("--before", options.before,
                  "Only pictures taken until the end of that day, month or year");
  verb.add_option("--larger", options.larger,
                  "Only pictures whose shorter side has so many pixels");
  verb.add_option("--camera", filter.camera, "Only pictures whose camera's name has this in it");
}

}  // namespace

void add_search(CLI::App& app) {
  auto* verb = app.add_subcommand("search", "Search an index of pictures by words and pictures");
  auto options = std::make_shared<SearchVerbOptions>();
  verb->set_help_flag("--help", "Print this help message and exit");  // "-house" is a term
  add_run_options(*verb, options->run);
  verb->get_option("--model")->required(false)->description(
      "Model directory; default: the one that the index was made with");
  verb->add_option("INDEX", options->index, "Folder that blip2 index has made")->required();
  verb->add_option("TERM", options->terms,
                   "What to look for: words or a picture's path; see below");
  verb->add_option("--top", options->choices.top, "Number of pictures")
      ->check(CLI::Range(1, 100'000))
      ->capture_default_str();
  verb->add_option(
      "--min-score", options->min_score,
      "Least score of a picture that is shown; default for one text: 0.95, the share of "
      "texts that belong to no picture which fit worse");
  verb->add_option("--rerank", options->choices.rerank,
                   "Order so many of the best pictures by matching, for one text")
      ->check(CLI::Range(0, 10'000))
      ->capture_default_str();
  verb->add_flag("--exact", options->choices.exact,
                 "Score every picture in full: the same answer, slower");
  add_filters(*verb, *options);
  verb->add_option("--queries", options->queries, "File with a search of one term in each line");
  verb->add_flag("--paths-only", options->paths_only, "Print paths alone");
  verb->add_option("--html", options->html, "Write a page with the pictures found")
      ->check(refuse_empty);
  verb->add_option("--thumbnails", options->thumbnails,
                   "Show small pictures in a terminal that can (kitty, WezTerm, Ghostty, iTerm2): "
                   "auto, always, never")
      ->check(CLI::IsMember({"auto", "always", "never"}))
      ->capture_default_str();
  verb->allow_extras();
  verb->footer(
      "A term is words or the path of a picture. 2*TERM counts twice, -TERM is what shall not be "
      "there:\n"
      "  blip2 search INDEX \"2*dog\" \"-leash\" photo.jpg\n"
      "text: or image: before the words or the path says which they are. Prints a line for each "
      "picture:\n"
      "path, score, itc (cosine) and itm (probability of a match, with --rerank). The score is the "
      "share of\n"
      "texts that belong to no picture which fit worse, or, for several terms or a picture, the "
      "sum.");
  verb->callback([options, verb] {
    for (const std::string& word : verb->remaining()) {  // "-leash"
      if (word.starts_with("--")) throw CLI::ExtrasError({word});
      options->terms.push_back(word);
    }
    settle(*options);
    search(*options);
  });
}

}  // namespace blip2
