#include "blip2/io/hub_cache.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <optional>
#include <string_view>
#include <vector>

#include "blip2/base/error.h"
#include "blip2/base/file.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kFolderStart = "models--", kFolderBetween = "--";

// "organisation/name@revision" in its parts.
struct HubName {
  std::string organisation, name, revision;

  std::string id() const { return organisation + "/" + name; }
  std::string folder() const {
    return std::string(kFolderStart) + organisation + std::string(kFolderBetween) + name;
  }
};

// The Hub's rule for either part of a name.
bool names_part(std::string_view part) {
  const auto may_stand = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_' || c == '.';
  };
  const auto at_the_edge = [](char c) { return c != '-' && c != '.'; };
  return !part.empty() && part.size() <= 96 && std::all_of(part.begin(), part.end(), may_stand) &&
         at_the_edge(part.front()) && at_the_edge(part.back()) && part.find("--") == part.npos &&
         part.find("..") == part.npos;
}

// Branches may have slashes ("refs/pr/1"), but none leads out of the cache.
bool names_revision(const fs::path& revision) {
  return !revision.empty() && revision.is_relative() &&
         std::none_of(revision.begin(), revision.end(),
                      [](const fs::path& step) { return step == ".." || step == "."; });
}

std::optional<HubName> hub_name(const std::string& model) {
  const std::size_t slash = model.find('/'), at = model.find('@');
  if (slash == model.npos || at < slash) return std::nullopt;
  HubName hub{model.substr(0, slash), model.substr(slash + 1, at - slash - 1),
              at == model.npos ? "main" : model.substr(at + 1)};
  if (!names_part(hub.organisation) || !names_part(hub.name)) return std::nullopt;
  return hub;
}

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

// A folder from the environment; "~" at its start is the user's own.
fs::path expanded(const std::string& folder) {
  if (folder == "~" || folder.starts_with("~/")) {
    return fs::path(variable("HOME")) /
           fs::path(folder.substr(std::min<std::size_t>(2, folder.size())));
  }
  return folder;
}

// The snapshot that a revision names: a commit itself, or the one that refs/ has for it.
fs::path snapshot_of(const fs::path& repository, const std::string& revision) {
  if (!names_revision(revision)) return {};
  const fs::path by_commit = repository / "snapshots" / revision;
  std::error_code ignored;
  if (fs::is_directory(by_commit, ignored)) return by_commit;
  const fs::path reference = repository / "refs" / revision;
  if (!fs::is_regular_file(reference, ignored)) return {};
  std::string commit = read_file(reference.string());
  while (!commit.empty() && std::isspace(static_cast<unsigned char>(commit.back())))
    commit.pop_back();
  if (!names_part(commit)) throw Error("expected the name of a commit", reference.string());
  const fs::path snapshot = repository / "snapshots" / commit;
  return fs::is_directory(snapshot, ignored) ? snapshot : fs::path();
}

// The files or, of snapshots, the folders below a folder of the cache, by their names in it.
std::vector<std::string> names_below(const fs::path& folder, bool folders) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::recursive_directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    std::error_code ignored;
    if (folders) entry.disable_recursion_pending();
    if (folders ? entry->is_directory(ignored) : entry->is_regular_file(ignored)) {
      names.push_back(entry->path().lexically_relative(folder).string());
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

bool has_snapshot(const fs::path& repository, const std::string& revision) {
  try {
    return !snapshot_of(repository, revision).empty();
  } catch (const Error&) {
    return false;  // a broken file of another revision
  }
}

// The revisions that a model has in the cache, branches first, then commits: "main, 0123abc".
std::string known_revisions(const fs::path& repository) {
  constexpr std::size_t kListed = 8;
  std::vector<std::string> names;
  for (const std::string& name : names_below(repository / "refs", /*folders=*/false)) {
    if (has_snapshot(repository, name)) names.push_back(name);
  }
  const auto commits = names_below(repository / "snapshots", /*folders=*/true);
  names.insert(names.end(), commits.begin(), commits.end());
  if (names.empty()) return "none";
  const std::size_t shown = std::min(names.size(), kListed);
  std::string text =
      fmt::format("{}", fmt::join(names.begin(), names.begin() + static_cast<long>(shown), ", "));
  if (names.size() > shown) text += fmt::format(" and {} more", names.size() - shown);
  return text;
}

// What to do where the cache does not have what a name means.
std::string advice(const HubName& hub, bool known, const fs::path& cache) {
  std::string text;
  if (known) text = "it has " + known_revisions(cache / hub.folder());
  if (!names_revision(hub.revision)) return text.empty() ? "no revision stands behind @" : text;
  return text + (known ? "; " : "") + "hf download " + hub.id() +
         (hub.revision == "main" ? "" : " --revision " + hub.revision) + " fetches it into " +
         cache.string();
}

}  // namespace

fs::path hub_cache_folder() {
  for (const char* name : {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"}) {
    if (const std::string cache = variable(name); !cache.empty()) return expanded(cache);
  }
  if (const std::string home = variable("HF_HOME"); !home.empty()) return expanded(home) / "hub";
  const std::string caches = variable("XDG_CACHE_HOME");
  return expanded(caches.empty() ? "~/.cache" : caches) / "huggingface" / "hub";
}

fs::path find_model(const std::string& model, const fs::path& folder) {
  const fs::path path = folder.empty() ? fs::path(model) : (folder / model).lexically_normal();
  std::error_code ignored;
  const std::optional<HubName> hub = hub_name(model);
  if (!hub || fs::exists(path, ignored)) return path;
  const fs::path cache = hub_cache_folder(), repository = cache / hub->folder();
  const fs::path snapshot = snapshot_of(repository, hub->revision);
  if (!snapshot.empty()) return snapshot;
  const bool known = fs::is_directory(repository, ignored);
  throw Error(known ? "the Hub's cache has no revision \"" + hub->revision + "\" of this model"
                    : "no such file or folder, and the Hub's cache has no model of this name",
              known ? repository.string() : path.string(), advice(*hub, known, cache));
}

std::string model_name(const fs::path& folder) {
  const fs::path place = folder.filename().empty() ? folder.parent_path() : folder;
  const std::string repository = place.parent_path().parent_path().filename().string();
  if (place.parent_path().filename() == "snapshots" && repository.starts_with(kFolderStart)) {
    std::string id = repository.substr(kFolderStart.size());
    const std::size_t between = id.find(kFolderBetween);
    if (between != id.npos) id.replace(between, kFolderBetween.size(), "/");
    return id;
  }
  return place.filename().string();
}

}  // namespace blip2
