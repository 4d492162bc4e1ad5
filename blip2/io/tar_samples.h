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

// The members of a tar shard that belong together: those that follow each other and share a key,
// see split_member_name().
struct TarSample {
  std::string key;
  std::uint64_t at = 0;                         // byte of its first header
  std::optional<TarEntry> picture, text, json;  // .jpg .jpeg .png .webp; .txt; .json
  std::string fault;                            // why it cannot be used; empty if it is whole
};

// A member's key and suffix as WebDataset 1.0 has them: the name at the first dot of its last
// component, "a/0001.seg.png" -> "a/0001", "seg.png" (in lower case); "a/.x" -> "a/", "x" if the
// folder's name has no dot. Both are empty for a name that belongs to no sample: ".x" at the top, a
// name without a dot, and what lies in a folder "__name__".
std::pair<std::string, std::string> split_member_name(std::string_view name);

// jpg, jpeg, png or webp.
bool is_picture_extension(std::string_view extension);

// The samples of a shard. Every sample that the shard lost, whole or in part, is given once, with a
// fault; so samples without a fault and those with one together are as many as were written (up to
// where the shard is cut off). Members of other kinds are passed over; a sample of such alone has a
// fault. Members that belong to no sample neither count nor part their neighbours.
class TarSampleReader {
 public:
  // `needs_text`: whether a picture alone is no sample.
  explicit TarSampleReader(std::filesystem::path path, bool needs_text = true);

  std::optional<TarSample> next();
  std::string read(const TarEntry& part) const { return reader_.read(part); }
  const std::string& cut_off() const { return reader_.cut_off(); }

 private:
  // Members with one key, still growing.
  struct Group : TarSample {
    std::string refusal;  // of a member that belongs to it
    std::string damage;   // within it
    unsigned parts = 0;   // one bit for each of its kinds of members, refused ones too
    bool checked_names = true;
    bool relevant = false;  // holds a picture or a text, or should
    std::string others;     // suffixes of members of other kinds
    std::string name;       // of its only member
  };
  // Headers lost between two groups.
  struct Gap {
    std::vector<std::string> names;
    std::uint64_t at = 0;
    std::string what;
    bool cut = false;  // by the archive's end, within the last of `names`
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
  Gap before_, after_;  // the group
  // The group before it: given when the next one shows that it is no part of that.
  std::optional<TarSample> held_;
  // Its name if nothing of it is read and a flipped bit may have parted it from the next group.
  std::string held_name_;
  std::string last_key_;
  bool last_is_broken_ = false, last_lacks_a_part_ = false, last_has_checked_names_ = true;
  unsigned last_parts_ = 0;
  std::deque<TarSample> ready_;
};

}  // namespace blip2
