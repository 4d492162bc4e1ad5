#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "blip2/io/random_file.h"
#include "blip2/io/tar_header.h"

namespace blip2 {

// An entry of a tar archive: a file, a refused member or damage.
struct TarEntry {
  enum class Kind {
    file,     // a regular file, whole
    refused,  // a member that cannot be read: `what` says why
    damage    // bytes that are no members, though they should be
  };
  Kind kind = Kind::file;
  std::string name;          // as the archive has it: a label, never a path of this machine
  std::uint64_t header = 0;  // byte of the header, or where the damage begins
  std::uint64_t offset = 0;  // byte of the body
  std::uint64_t size = 0;    // bytes of the body or of the damage
  bool checked_name = true;  // false: the name is not covered by a checksum (pax, GNU long name)
  std::string what;          // the reason of a refusal or damage
  // For damage: the names of the headers in it, "" where a name is illegible, pax records where
  // they are damaged.
  std::vector<std::string> lost;
  // For damage: it reaches the archive's end, so the last name in `lost` may be cut off but is
  // exact as far as it goes.
  bool cut = false;
};

// Reads through a tar archive (V7, ustar, pax, GNU) without extracting anything, and gives the
// places of its files. Memory stays small whatever the archive's size. Damage does not end the
// reading: after a header whose checksum is wrong, or whose size leads to no header, the reader
// goes on with the next sound header. It also goes on after zero blocks in the middle (concatenated
// archives, wiped pages). Directories are skipped; links, devices and sparse files are refused. For
// one thread at a time.
class TarReader {
 public:
  // Throws Error if the file is missing, empty or compressed.
  explicit TarReader(std::filesystem::path path);

  // The next entry in the archive's order; nullopt after the last. Throws Error if the whole file
  // has no entry.
  std::optional<TarEntry> next();
  // Where and how the archive is cut off; empty if it has its end mark. Known after the last entry.
  const std::string& cut_off() const { return cut_off_; }
  std::string read(const TarEntry& entry) const { return file_.read(entry.offset, entry.size); }
  const std::filesystem::path& path() const { return file_.path(); }

 private:
  // What pax records and GNU long names say about the next member.
  struct Extension {
    std::optional<std::string> name;
    std::optional<std::uint64_t> size;
    std::string refusal;  // why the member that follows cannot be read
    bool broken = false;  // damaged: the name of the member that follows is unknown
    std::string hint;     // the part of that name that can be read
    int headers = 0;
  };

  void advance();
  void pass_blank();
  void accept(const TarHeader& header);
  void read_extension(const TarHeader& header, std::uint64_t body);
  void apply_pax(const std::string& text);
  void add_member(const TarHeader& header, std::uint64_t body);
  void add_overlong(TarEntry entry);
  bool step_back();
  void recover();
  void collect_remains(std::uint64_t from, std::uint64_t to, TarEntry& damage);
  void accept_pending();
  void finish(bool has_mark);
  std::uint64_t find_blank_end(std::uint64_t from);
  std::optional<std::uint64_t> find_header(std::uint64_t from);
  std::uint64_t skip_sparse_map(const TarHeader& header, std::uint64_t body);

  RandomFile file_;
  std::uint64_t at_ = 0;         // where a header is expected
  std::uint64_t scan_from_ = 0;  // after the last sound header
  std::uint64_t gap_from_ = 0;   // where the zero blocks before `at_` begin
  Extension extension_;
  std::optional<TarEntry> pending_;  // not known to be sound until the next header is read
  std::deque<TarEntry> ready_;
  std::string cut_off_;
  bool done_ = false, any_ = false, has_plain_headers_ = false;
};

}  // namespace blip2
