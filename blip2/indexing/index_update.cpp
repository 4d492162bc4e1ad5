#include "blip2/indexing/index_update.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "blip2/base/error.h"
#include "blip2/base/interrupt.h"
#include "blip2/base/log.h"
#include "blip2/indexing/followed_folders.h"
#include "blip2/indexing/index_ledger_internal.h"
#include "blip2/indexing/picture_captions.h"
#include "blip2/indexing/picture_rounds.h"
#include "blip2/io/utf8.h"
#include "blip2/processes/rank_work.h"
#include "blip2/retrieval/index_identity.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;
using std::chrono::nanoseconds;
using std::chrono::system_clock;

// The index as it is, or nullptr with the reason, if there is one: a process that was killed before
// its first commit leaves a folder that is no index yet.
struct PresentIndex {
  std::shared_ptr<const PictureIndex> index;
  std::optional<Error> failure = std::nullopt;
};

PresentIndex open_present(const std::string& folder) {
  std::error_code error;
  if (!fs::exists(folder, error) || fs::is_empty(folder, error)) return {};
  try {
    return {PictureIndex::open(folder)};
  } catch (const Error& failure) {
    return {nullptr, failure};
  }
}

std::string model_of(const IndexOptions& options, const PictureIndex* present) {
  if (!options.model.empty()) return options.model;
  if (present == nullptr) {
    throw Error("there is no index yet, so it is not known which model to use", options.index,
                "name its directory by --model");
  }
  const std::string& known = present->identity().model_folder;
  if (fs::exists(known)) return known;
  throw Error(fmt::format("its model was in {}, which is not there any more", known), options.index,
              "name the model's directory by --model");
}

std::int64_t nanoseconds_now() {
  const auto now = system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<nanoseconds>(now).count();
}

PlanOptions plan_options(const IndexOptions& options) {
  PlanOptions plan{options.remove_missing, std::nullopt, nanoseconds_now()};
  if (options.settle.count() > 0) plan.young_since = plan.now - nanoseconds(options.settle).count();
  return plan;
}

}  // namespace

struct IndexUpdater::State {
  State(IndexOptions options_, const Ranks* ranks_) : options(std::move(options_)), ranks(ranks_) {}

  IndexOptions options;
  const Ranks* ranks;
  std::unique_ptr<RetrievalModel> model;  // once there is something to encode
  // Of the main process.
  std::unique_ptr<IndexLedger> ledger;
  std::vector<std::string> followed, read_folders;
  std::int64_t young = 0;
  bool misses_folders = false;
  std::set<std::string> told;  // warnings of lost places

  void open();
  UpdatePlan plan();
  void tell(const LostFiles& lost);
  void forget_missing(const UpdatePlan& plan);
  const RetrievalModel& open_model();
  void read(std::vector<std::string> paths);
  void caption();
};

void IndexUpdater::State::open() {
  const auto [present, failure] = open_present(options.index);
  if (failure && options.model.empty()) throw *failure;
  options.model = model_of(options, present.get());
  followed = folders_to_follow(present.get(), options.folders, options.forget);
  if (followed.empty() && !present) {
    throw failure ? *failure : Error("expected at least one folder of pictures", options.index);
  }
  const IndexIdentity identity = index_identity(options.model, options.pictures);
  std::map<ContentHash, std::string> captions;
  if (options.rebuild && present) captions = captions_of(*present);
  ledger =
      std::make_unique<IndexLedger>(options.index, identity, options.rebuild, std::move(captions));
  if (failure && !ledger->files().empty()) throw *failure;  // which folders, nobody knows
  const auto known = present && !options.rebuild ? present->value(kFollowedFolders) : std::nullopt;
  ledger->set_value(kFollowedFolders, folders_to_text(followed), known);
}

UpdatePlan IndexUpdater::State::plan() {
  PictureWalk walk = walk_pictures(followed, fs::canonical(options.index).string());
  UpdatePlan plan = plan_update(ledger->files(), walk, plan_options(options));
  read_folders = std::move(walk.folders);
  young = plan.young;
  misses_folders = false;
  for (const LostFiles& lost : plan.lost) tell(lost);
  if (options.remove_missing) forget_missing(plan);
  return plan;
}

// Names a lost place once. Places that are missing and that nothing in the index comes from are
// nobody's concern, unless somebody has given them.
void IndexUpdater::State::tell(const LostFiles& lost) {
  const bool followed_itself = std::ranges::count(followed, lost.place.path) > 0;
  const bool unreadable = lost.place.kind == LostPlace::Kind::unreadable;
  misses_folders = misses_folders || followed_itself;
  if (lost.place.kind == LostPlace::Kind::missing && !followed_itself && lost.files == 0) return;
  if (lost.place.kind == LostPlace::Kind::empty && lost.files == 0) return;
  std::string line = one_line(lost.place.path) + ": " + lost.place.problem;
  if (lost.files > 0 && unreadable) {
    line += fmt::format("; its {} pictures stay in the index", lost.files);
  } else if (lost.files > 0 && options.remove_missing) {
    line += fmt::format("; its {} pictures leave the index", lost.files);
  } else if (lost.files > 0) {
    line += fmt::format("; its {} pictures stay in the index, unless --remove-missing removes them",
                        lost.files);
  }
  if (told.insert(line).second) log_warning("{}", line);
}

void IndexUpdater::State::forget_missing(const UpdatePlan& plan) {
  const std::string before = folders_to_text(followed);
  for (const LostFiles& lost : plan.lost) {
    if (lost.place.kind == LostPlace::Kind::missing) std::erase(followed, lost.place.path);
  }
  ledger->set_value(kFollowedFolders, folders_to_text(followed), before);
}

const RetrievalModel& IndexUpdater::State::open_model() {
  if (!model) {
    model = std::make_unique<RetrievalModel>(options.model, options.precision, options.bridge,
                                             options.pictures);
  }
  return *model;
}

// Reads files until all are in the index or gone.
void IndexUpdater::State::read(std::vector<std::string> paths) {
  const PictureRoundCalls calls{
      [this](const ContentHash& content) { return ledger->wants(content); },
      [this](std::vector<ReadPicture> pictures) { ledger->take(std::move(pictures)); }};
  for (bool more = true; more;) {
    read_in_rounds(
        ranks, paths, [this]() -> const RetrievalModel& { return open_model(); }, calls);
    if (is_main_process(ranks)) paths = ledger->take_deferred();
    more = share_texts(ranks, {paths.empty() ? "" : "more"}).front() == "more";
  }
}

void IndexUpdater::State::caption() {
  std::vector<UncaptionedPicture> pictures;
  if (is_main_process(ranks)) pictures = uncaptioned_pictures(options.index);
  caption_pictures(options, ranks, pictures,
                   [this](std::int64_t picture, const std::string& caption) {
                     ledger->set_caption(picture, caption);
                   });
}

IndexUpdater::IndexUpdater(IndexOptions options, const Ranks* ranks)
    : state_(std::make_unique<State>(std::move(options), ranks)) {
  if (is_main_process(ranks)) state_->open();
  state_->options.model = share_texts(ranks, {state_->options.model}).front();
  if (!ranks) return;
  const IndexIdentity own = index_identity(state_->options.model, state_->options.pictures);
  require_same(ranks, "the model", own.model_hash);
}

IndexUpdater::~IndexUpdater() = default;

IndexCounts IndexUpdater::update() {
  State& state = *state_;
  const bool main = is_main_process(state.ranks);
  UpdatePlan plan;
  if (main) {
    plan = state.plan();
    if (state.ledger->files().empty()) {
      plan.read = with_sample_first(std::move(plan.read), kPicturesOfACommit);
    }
    state.ledger->begin(plan.unchanged);
  }
  try {
    state.read(plan.read);
    if (main) {
      state.ledger->remove(plan.gone);
      state.ledger->commit();
    }
    if (state.options.captions) state.caption();
  } catch (const Interrupted&) {
    if (main) state.ledger->commit();
    throw;
  }
  if (!main) return {};
  state.ledger->commit();
  return state.ledger->counts();
}

const std::vector<std::string>& IndexUpdater::read_folders() const {
  return state_->read_folders;
}

std::int64_t IndexUpdater::young_files() const {
  return state_->young;
}

bool IndexUpdater::misses_folders() const {
  return state_->misses_folders;
}

}  // namespace blip2
