#include "blip2/io/tar_samples.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "blip2/io/picture_format.h"
#include "blip2/io/utf8.h"

namespace blip2 {
namespace {

constexpr std::size_t kMaxListed = 100;  // bytes of suffixes in a message

// In how many bits two texts of one length differ.
int bits_between(std::string_view a, std::string_view b) {
  int bits = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    bits += std::popcount(static_cast<std::uint8_t>(a[i] ^ b[i]));
  }
  return bits;
}

// Whether a header that was lost belongs to the sample `key`, as far as its name can be read.
enum class Kinship { none, near, same };

Kinship kinship(std::string_view name, const std::string& key) {
  const std::string start = key + ".";
  if (key.empty()) return Kinship::none;
  const bool is_raw = name.find('\n') != name.npos;  // pax records in which something is damaged
  if (is_raw) return name.find(start) != name.npos ? Kinship::same : Kinship::none;
  if (name.size() < start.size()) return Kinship::none;
  const int bits = bits_between(start, name.substr(0, start.size()));
  if (bits == 0) return Kinship::same;
  // A bit in ustar's prefix puts something before the name.
  return bits == 1 || name.find("/" + start) != name.npos ? Kinship::near : Kinship::none;
}

// Whether an undamaged name, which may be cut off, names another sample than `key`: one whose key
// is as long. Headers of pax records and long names ("././@...") name nothing.
bool names_another(std::string_view name, const std::string& key) {
  const std::size_t length = key.size();
  return name.size() > length && name[length] == '.' && name.substr(0, length) != key &&
         !name.starts_with("./.");
}

bool is_relevant(std::string_view extension) {
  return is_picture_extension(extension) || extension == "txt" || extension == "json";
}

// The groups beside a gap.
struct Neighbour {
  std::string key;
  bool is_broken = false;  // lacks a member that the gap may have held
};

// How many samples vanished with all their headers, of which `names` are left. What the names say
// comes first; a single header without its fellows is taken for the missing member of a broken
// neighbour. `cut`: the archive ends within the last header, whose name is thus not damaged: one
// that differs from the neighbour's begins a sample, however near it is.
std::size_t count_vanished(const std::vector<std::string>& names, bool cut, Neighbour before,
                           Neighbour after) {
  struct Run {
    std::string name, key;
    int headers;
    bool certain = false;
  };
  std::vector<Run> runs;
  for (const std::string& name : names) {
    const std::string key = split_member_name(name).first;
    if (kinship(name, before.key) == Kinship::same) {
      before.is_broken = false;
    } else if (kinship(name, after.key) == Kinship::same) {
      after.is_broken = false;
    } else if (!runs.empty() && !key.empty() && runs.back().key == key) {
      ++runs.back().headers;
    } else {
      runs.push_back({name, key, 1});
    }
  }
  if (cut && !names.empty() && !runs.empty()) {
    runs.back().certain = names_another(names.back(), before.key);
  }
  if (before.is_broken && !runs.empty() && runs.front().headers == 1 && !runs.front().certain) {
    runs.erase(runs.begin());
  }
  if (after.is_broken && !runs.empty() && runs.back().headers == 1) runs.pop_back();
  std::size_t samples = 0;
  bool half = false;  // a single header that the next single one may complete
  for (const auto& [name, key, headers, certain] : runs) {
    const bool single = headers == 1 && !certain;
    const bool extra = single && (kinship(name, before.key) == Kinship::near ||
                                  kinship(name, after.key) == Kinship::near);
    if (extra) continue;
    const bool completes = single && half;
    samples += completes ? 0 : 1;
    half = single && !completes;
  }
  return samples;
}

// Whether the name lies in a folder "__name__", or is one: WebDataset's data about the shard.
bool is_meta(std::string_view name) {
  const std::string_view first = name.substr(0, name.find('/'));
  return first.size() >= 4 && first.starts_with("__") && first.ends_with("__");
}

// Whether a sample lacks a member that a gap beside it may have held.
bool lacks_a_part(const TarSample& sample) {
  return !sample.picture || (!sample.text && !sample.json);
}

}  // namespace

std::pair<std::string, std::string> split_member_name(std::string_view name) {
  const std::size_t slash = name.rfind('/');
  const std::size_t base = slash == name.npos ? 0 : slash + 1;
  const std::size_t dot = name.find('.', base);
  if (dot == name.npos || is_meta(name)) return {};
  if (dot == base) {  // the key is the folder's, if that has one
    if (base == 0) return {};
    const std::size_t above = base == 1 ? name.npos : name.rfind('/', base - 2);
    const std::size_t folder = above == name.npos ? 0 : above + 1;
    if (name.substr(folder, base - folder).find('.') != name.npos) return {};
  }
  std::string suffix(name.substr(dot + 1));
  for (char& c : suffix) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return {std::string(name.substr(0, dot)), std::move(suffix)};
}

TarSampleReader::TarSampleReader(std::filesystem::path path, bool needs_text)
    : reader_(std::move(path)), needs_text_(needs_text) {}

std::optional<TarSample> TarSampleReader::next() {
  while (ready_.empty() && !done_) {
    if (auto entry = reader_.next()) {
      take(std::move(*entry));
      continue;
    }
    close();
    start_group("", 0);  // none: what was lost lies before the end
    report_gap("", false);
    if (held_) ready_.push_back(std::move(*held_));
    done_ = true;
  }
  if (ready_.empty()) return {};
  TarSample sample = std::move(ready_.front());
  ready_.pop_front();
  return sample;
}

void TarSampleReader::take(TarEntry entry) {
  if (entry.kind == TarEntry::Kind::damage) return note_damage(entry);
  const auto [key, extension] = split_member_name(entry.name);
  if (key.empty()) return;
  if (group_ && group_->key == key) {
    if (!after_.what.empty()) group_->damage = after_.what;
    after_ = {};
  } else {
    close();
    start_group(key, entry.header);
  }
  add(std::move(entry), extension);
}

void TarSampleReader::note_damage(const TarEntry& damage) {
  if (after_.what.empty()) {
    after_.at = damage.header;
    after_.what = damage.what;
  }
  after_.cut = damage.cut;
  for (const std::string& name : damage.lost) {
    const std::string extension = split_member_name(name).second;
    if (extension.empty() || damage.cut || is_relevant(extension)) after_.names.push_back(name);
  }
}

void TarSampleReader::start_group(const std::string& key, std::uint64_t at) {
  group_ = Group{};
  group_->key = key;
  group_->at = at;
  // A gap before a group that was passed over counts with the one after it.
  if (before_.what.empty()) {
    before_ = std::move(after_);
  } else {
    before_.names.insert(before_.names.end(), after_.names.begin(), after_.names.end());
    before_.cut = after_.cut;
  }
  after_ = {};
}

void TarSampleReader::add(TarEntry entry, const std::string& extension) {
  Group& group = *group_;
  group.checked_names = group.checked_names && entry.checked_name;
  group.name = group.others.empty() && !group.relevant ? entry.name : "";
  if (!is_relevant(extension)) {
    if (group.others.size() < kMaxListed) {
      group.others += (group.others.empty() ? "." : ", .") + printable(extension);
    }
    return;
  }
  group.relevant = true;
  group.parts |= is_picture_extension(extension) ? 1u : extension == "txt" ? 2u : 4u;
  if (entry.kind == TarEntry::Kind::refused) {
    if (group.refusal.empty()) {
      group.refusal = fmt::format("{} {}", printable(entry.name), entry.what);
    }
    return;
  }
  auto& place = is_picture_extension(extension) ? group.picture
                : extension == "txt"            ? group.text
                                                : group.json;
  if (place && group.refusal.empty()) {
    group.refusal = fmt::format("has two members like {}", printable(entry.name));
  }
  place = std::move(entry);
}

std::string TarSampleReader::fault_of(const Group& group) const {
  if (!group.refusal.empty()) return group.refusal;
  std::string fault;
  if (!group.picture) {
    fault = fmt::format("has no picture ({})", picture_extensions());
  } else if (needs_text_ && !group.text && !group.json) {
    fault = "has no text (.txt or .json)";
  } else {
    return {};
  }
  if (!group.others.empty()) fault += ", but " + group.others;
  for (const std::string& damage : {before_.what, group.damage, after_.what}) {
    if (!damage.empty()) return fault + "; " + damage;
  }
  return fault;
}

// Whether the group and the one before it may be one, in which a bit of an unchecked name flipped:
// neither has a member like the other's.
bool TarSampleReader::is_beside_last() const {
  const bool possible = before_.what.empty() && !last_key_.empty() &&
                        !(last_has_checked_names_ && group_->checked_names) &&
                        (last_parts_ & group_->parts) == 0;
  return possible && group_->key.size() == last_key_.size() &&
         bits_between(group_->key, last_key_) <= 1;
}

void TarSampleReader::hold(TarSample sample) {
  if (held_) ready_.push_back(std::move(*held_));
  held_name_.clear();
  held_ = std::move(sample);
}

void TarSampleReader::close() {
  if (!group_) return;
  if (!group_->relevant) return close_unread();
  group_->fault = fault_of(*group_);
  const bool broken = !group_->fault.empty();
  const bool beside = is_beside_last();
  if (beside && broken) last_parts_ |= group_->parts;  // counted already
  if (beside && broken) return group_.reset();
  if (broken && kinship(held_name_, group_->key) != Kinship::none) held_.reset();
  // This is the rest of that sample, and it is whole.
  if (beside && last_is_broken_ && held_ && held_->key == last_key_) held_.reset();
  report_gap(group_->key, lacks_a_part(*group_));
  last_key_ = group_->key;
  last_is_broken_ = broken;
  last_lacks_a_part_ = lacks_a_part(*group_);
  last_has_checked_names_ = group_->checked_names;
  last_parts_ = group_->parts;
  hold(std::move(*group_));
  group_.reset();
}

// A group of which nothing is read is a sample too, unless a flipped bit in an unchecked name made
// it of a member that a broken neighbour lacks.
void TarSampleReader::close_unread() {
  const std::string name = group_->checked_names ? "" : group_->name;
  TarSample sample = std::move(*group_);
  sample.fault = fmt::format(
      "holds nothing that is read, but {}; a sample is a picture ({}) with a .txt or .json",
      group_->others, picture_extensions());
  const bool is_apple_double = sample.key.ends_with('/') && group_->others.starts_with("._");
  if (is_apple_double) sample.fault += "; COPYFILE_DISABLE=1 keeps macOS's ._ files out of a tar";
  group_.reset();
  if (last_is_broken_ && kinship(name, last_key_) != Kinship::none) return;
  hold(std::move(sample));
  held_name_ = name;
}

// Gives the samples that vanished before a group; `key` is empty at the archive's end.
void TarSampleReader::report_gap(const std::string& key, bool lacks_a_part) {
  const Gap gap = std::exchange(before_, {});
  const std::size_t vanished =
      count_vanished(gap.names, gap.cut, {last_key_, last_lacks_a_part_}, {key, lacks_a_part});
  for (std::size_t i = 0; i < vanished; ++i) {
    TarSample lost;
    lost.key = i < gap.names.size() ? printable(split_member_name(gap.names[i]).first) : "";
    lost.at = gap.at;
    lost.fault = gap.what;
    hold(std::move(lost));
  }
}

}  // namespace blip2
