#pragma once

#include <cstdint>
#include <deque>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "blip2/io/tar.h"

namespace blip2 {

// The members of a tar shard that belong together: neighbours that share a key, see
// split_member_name().
struct TarSample {
  std::string key;
  std::uint64_t at = 0;                         // byte of its first header
  std::optional<TarEntry> picture, text, json;  // by is_picture_extension; .txt; .json
  std::string fault;  // why the sample cannot be used; empty if it is whole
};

// A member's key and suffix as WebDataset 1.0 has them: the name is split at the first dot of its
// last component, "a/0001.seg.png" -> "a/0001", "seg.png" (in lower case); "a/.x" -> "a/", "x" if
// the folder's name has no dot. Both are empty for a name that belongs to no sample: ".x" at the
// top, a name without a dot, and any name in a folder "__name__".
std::pair<std::string, std::string> split_member_name(std::string_view name);

// The samples of a shard. Every sample that the shard lost, whole or in part, is given once, with a
// fault; so the number of samples, with or without a fault, is the number that was written (up to
// where the shard is cut off). Members of other kinds are skipped; a sample that has only such
// members has a fault. Members that belong to no sample neither count nor separate their
// neighbours. For one thread at a time.
class TarSampleReader {
 public:
  // `needs_text`: a picture without a text is not a sample.
  explicit TarSampleReader(std::filesystem::path path, bool needs_text = true);

  std::optional<TarSample> next();
  std::string read(const TarEntry& part) const { return reader_.read(part); }
  const std::string& cut_off() const { return reader_.cut_off(); }

 private:
  // Members with one key, to which further members may be added.
  struct Group : TarSample {
    std::string refusal;  // why a member of the group is refused
    std::string damage;   // damage between its members
    unsigned parts = 0;   // a bit for each kind of member that it has, refused ones included
    bool checked_names = true;
    bool relevant = false;  // it has a picture or a text, or lost one
    std::string others;     // suffixes of members of other kinds
    std::string name;       // the name of its only member
  };
  // Headers lost between two groups.
  struct Gap {
    std::vector<std::string> names;
    std::uint64_t at = 0;
    std::string what;
    bool cut = false;  // the archive ends within the last name of `names`
  };

  void take(TarEntry entry);
  void note_damage(const TarEntry& damage);
  void start_group(const std::string& key, std::uint64_t at);
  void add(TarEntry entry, const std::string& extension);
  void close();
  void close_unread();
  void report_gap(const std::string& key, bool lacks_a_part);
  bool is_beside_last() const;
  void hold(TarSample sample);
  std::string fault_of(const Group& group) const;

  TarReader reader_;
  bool needs_text_, done_ = false;
  std::optional<Group> group_;
  Gap before_, after_;  // gaps before and after the group
  // The group before: it is given when the next group shows that both are not parts of one sample.
  std::optional<TarSample> held_;
  // The name of held_ if none of its members is read and a flipped bit may have separated it from
  // the next group.
  std::string held_name_;
  std::string last_key_;
  bool last_is_broken_ = false, last_lacks_a_part_ = false, last_has_checked_names_ = true;
  unsigned last_parts_ = 0;
  std::deque<TarSample> ready_;
};

}  // namespace blip2
