#include <fmt/format.h>

#include <span>
#include <unordered_set>
#include <utility>

#include "blip2/base/log.h"
#include "blip2/indexing/index_ledger_internal.h"
#include "blip2/io/utf8.h"

namespace blip2 {
namespace {

constexpr std::chrono::seconds kLongestUncommitted{20};

}  // namespace

IndexLedger::IndexLedger(const std::string& folder, const IndexIdentity& identity, bool rebuild,
                         std::map<ContentHash, std::string> captions)
    : captions_(std::move(captions)),
      writer_(folder, identity, rebuild),
      files_(writer_.files()),
      dirty_(rebuild) {}

void IndexLedger::set_value(const std::string& key, const std::string& text,
                            const std::optional<std::string>& present) {
  if (present == text) return;
  writer_.set_value(key, text);
  dirty_ = true;
}

void IndexLedger::begin(std::int64_t unchanged) {
  counts_ = {};
  counts_.kept = unchanged;
  claimed_.clear();
  problems_.clear();
  added_.clear();
}

bool IndexLedger::wants(const ContentHash& content) {
  if (problems_.contains(content) || writer_.find_picture(content)) return false;
  return claimed_.insert(content).second;
}

void IndexLedger::take(std::vector<ReadPicture> pictures) {
  std::int64_t encoded = 0;
  for (ReadPicture& read : pictures) {
    if (read.gone) {
      remove({read.file.path});
      continue;
    }
    if (const auto problem = problems_.find(read.content); problem != problems_.end()) {
      read.file.problem = problem->second;
    }
    if (!read.file.problem.empty()) {
      put_bad(read);
    } else if (read.facts) {
      if (const auto caption = captions_.find(read.content); caption != captions_.end()) {
        read.facts->caption = caption->second;
      }
      const std::span vectors(read.vectors.const_data_ptr<float>(),
                              static_cast<std::size_t>(read.vectors.numel()));
      put(read, writer_.add_picture(*read.facts, vectors));
      ++encoded;
    } else if (const auto picture = writer_.find_picture(read.content)) {
      put(read, *picture);
    } else {
      deferred_.push_back(read.file.path);
    }
  }
  counts_.encoded += encoded;
  commit_if_due(encoded);
}

std::vector<std::string> IndexLedger::take_deferred() {
  claimed_.clear();
  return std::exchange(deferred_, {});
}

void IndexLedger::put(const ReadPicture& read, std::int64_t picture) {
  FileFacts& known = files_[read.file.path];
  if (!known.picture) {
    ++counts_.added;
    added_.emplace(picture, read.file.path);
  } else if (*known.picture == picture) {
    ++counts_.kept;
  } else {
    ++counts_.changed;
  }
  known = read.file;
  known.picture = picture;
  writer_.put_file(known);
  dirty_ = true;
}

void IndexLedger::put_bad(const ReadPicture& read) {
  // An empty hash is that of a file that could not be read at all.
  if (read.content != ContentHash{}) problems_[read.content] = read.file.problem;
  FileFacts& known = files_[read.file.path];
  const bool told = !known.picture && known.problem == read.file.problem;
  if (!told) log_warning("{}: {}", one_line(read.file.path), read.file.problem);
  counts_.removed += known.picture.has_value();
  const bool same = told && known.bytes == read.file.bytes && known.modified == read.file.modified;
  known = read.file;
  if (same) return;
  writer_.put_file(known);
  dirty_ = true;
}

void IndexLedger::remove(const std::vector<std::string>& paths) {
  for (const std::string& path : paths) {
    const auto known = files_.find(path);
    if (known == files_.end()) continue;
    if (const auto picture = known->second.picture) {
      const auto moved = added_.find(*picture);
      if (moved == added_.end()) ++counts_.removed;
      if (moved != added_.end()) {
        --counts_.added;
        ++counts_.changed;
        added_.erase(moved);
      }
    }
    writer_.remove_file(path);
    files_.erase(known);
    dirty_ = true;
  }
}

void IndexLedger::set_caption(std::int64_t picture, const std::string& caption) {
  writer_.set_caption(picture, caption);
  ++counts_.captioned;
  dirty_ = true;
  commit_if_due(1);
}

void IndexLedger::commit_if_due(std::int64_t new_pictures) {
  uncommitted_ += new_pictures;
  const auto since = std::chrono::steady_clock::now() - committed_;
  if (uncommitted_ >= kPicturesOfACommit || since >= kLongestUncommitted) commit();
}

void IndexLedger::commit() {
  if (dirty_) writer_.commit();
  dirty_ = false;
  uncommitted_ = 0;
  committed_ = std::chrono::steady_clock::now();
}

IndexCounts IndexLedger::counts() const {
  IndexCounts counts = counts_;
  std::unordered_set<std::int64_t> pictures;
  for (const auto& [path, file] : files_) {
    if (file.picture) pictures.insert(*file.picture);
    counts.bad += !file.picture;
  }
  counts.pictures = std::ssize(pictures);
  return counts;
}

}  // namespace blip2
