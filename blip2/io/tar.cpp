#include "blip2/io/tar.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "blip2/base/error.h"
#include "blip2/io/utf8.h"

namespace blip2 {
namespace {

constexpr std::uint64_t kMaxExtension = 1u << 20;  // bytes of pax records or of a long name
constexpr std::size_t kMaxName = 4096;             // Linux's longest path
constexpr int kMaxExtensionHeaders = 16;           // before one member
constexpr std::size_t kScanWindow = 256u << 10;
constexpr std::ptrdiff_t kLeastHeaderBytes = 8;  // a block with fewer nonzero bytes is blank

std::uint64_t padded(std::uint64_t size) {
  return (size + kTarBlock - 1) / kTarBlock * kTarBlock;
}

std::ptrdiff_t nonzero_bytes(std::span<const std::byte> block) {
  return std::ssize(block) - std::count(block.begin(), block.end(), std::byte{0});
}

// The end mark is zero blocks; one with a few flipped bits is still seen as one.
bool is_blank(std::span<const std::byte> block) {
  return nonzero_bytes(block) < (block.size() < kTarBlock ? 1 : kLeastHeaderBytes);
}

// The reason why a member of this type is refused; nullptr for members that are read or skipped.
const char* refusal_of(char type) {
  switch (type) {
    case '1':
    case '2':
      return "is a link, which is not followed";
    case 'S':
      return "is a sparse file, which is not supported";
    case '3':
    case '4':
    case '6':
      return "is a device, not a file";
    case 'M':
      return "goes on from another archive, which is not supported";
    default:
      return "is of an unknown type";
  }
}

bool has_body(char type) {
  return std::string_view("123456").find(type) == std::string_view::npos;
}

// The name in pax records or in a GNU long name that is damaged somewhere; all of the text if it
// cannot be told where the name is.
std::string name_hint(std::string_view text) {
  constexpr std::string_view kPath = " path=";
  // Zeros pad the block; one within the text is a flipped bit.
  text = text.substr(0, std::min(text.find_last_not_of('\0') + 1, kMaxName));
  const std::size_t path = text.find(kPath);
  if (path == text.npos) return std::string(text);
  text.remove_prefix(path + kPath.size());
  return std::string(text.substr(0, text.find('\n')));
}

bool is_pax_key(const std::string& key) {
  static constexpr std::string_view kKnown[] = {"atime", "charset",    "comment",  "ctime", "gid",
                                                "gname", "hdrcharset", "linkpath", "mtime", "path",
                                                "size",  "uid",        "uname"};
  return key.find('.') != std::string::npos ||
         std::find(std::begin(kKnown), std::end(kKnown), key) != std::end(kKnown);
}

}  // namespace

TarReader::TarReader(std::filesystem::path path) : file_(std::move(path)) {
  const auto start = file_.peek(0, 6);
  const std::string_view text(reinterpret_cast<const char*>(start.data()), start.size());
  if (text.empty()) throw Error("expected a tar archive, the file is empty", file_.path().string());
  for (const std::string_view magic : {"\x1f\x8b", "BZh",
                                       "\xfd"
                                       "7zXZ",
                                       "\x28\xb5\x2f\xfd"}) {
    if (!text.starts_with(magic)) continue;
    throw Error("expected a plain tar archive, this one is compressed", file_.path().string(),
                "decompress it: pictures are compressed already");
  }
}

std::optional<TarEntry> TarReader::next() {
  while (ready_.empty() && !done_) advance();
  if (ready_.empty()) return {};
  TarEntry entry = std::move(ready_.front());
  ready_.pop_front();
  return entry;
}

void TarReader::advance() {
  const auto block = file_.peek(at_, kTarBlock);
  if (block.empty()) return finish(false);
  if (is_blank(block)) return pass_blank();
  if (const auto header = parse_tar_header(block); header && header->size) {
    has_plain_headers_ = has_plain_headers_ || !has_tar_magic(block);
    return accept(*header);
  }
  recover();
}

std::uint64_t TarReader::find_blank_end(std::uint64_t from) {
  while (true) {
    const auto block = file_.peek(from, kTarBlock, kScanWindow);
    if (block.empty() || !is_blank(block)) return std::min(from, file_.size());
    from += kTarBlock;
  }
}

void TarReader::pass_blank() {
  const std::uint64_t from = at_;
  const std::uint64_t end = find_blank_end(from);
  if (end >= file_.size()) return finish(true);
  if (step_back()) return;
  at_ = end;
  accept_pending();
  gap_from_ = from;
  scan_from_ = at_;
  // Zeros before a sound header join two archives; before anything else they are damage too.
  const auto header = parse_tar_header(file_.peek(at_, kTarBlock));
  if (header && header->size) gap_from_ = at_;
}

void TarReader::accept(const TarHeader& header) {
  accept_pending();
  any_ = true;
  scan_from_ = at_ + kTarBlock;
  const std::uint64_t body = skip_sparse_map(header, scan_from_);
  if (header.is_extension()) {
    read_extension(header, body);
  } else {
    add_member(header, body);
    extension_ = {};
  }
  gap_from_ = at_;
}

// GNU's old sparse files have blocks of their map between header and body.
std::uint64_t TarReader::skip_sparse_map(const TarHeader& header, std::uint64_t body) {
  constexpr std::size_t kMore = 504;
  for (bool more = header.more_sparse; more;) {
    const auto block = file_.peek(body, kTarBlock);
    if (block.size() < kTarBlock) break;
    more = block[kMore] != std::byte{0};
    body += kTarBlock;
  }
  return body;
}

void TarReader::read_extension(const TarHeader& header, std::uint64_t body) {
  const std::uint64_t size = *header.size;
  const bool inside = body <= file_.size() && size <= file_.size() - body;
  if (++extension_.headers > kMaxExtensionHeaders || size > kMaxExtension || !inside) {
    extension_.broken = true;
    at_ = inside ? body + padded(size) : find_header(body).value_or(file_.size());
    return;
  }
  at_ = body + padded(size);
  if (header.type == 'g' || header.type == 'K') return;  // of all members; a link's target
  const std::string text = file_.read(body, size);
  extension_.hint = name_hint(text);
  if (header.type == 'x') return apply_pax(text);
  const std::size_t end = text.find('\0');
  extension_.broken = extension_.broken || end == std::string::npos || end == 0 ||
                      text.find_first_not_of('\0', end) != std::string::npos;
  if (!extension_.broken) extension_.name = text.substr(0, end);
}

void TarReader::apply_pax(const std::string& text) {
  const auto records = parse_pax(text);
  extension_.broken = extension_.broken || !records;
  if (!records) return;
  for (const auto& [key, value] : *records) {
    if (!is_pax_key(key)) extension_.broken = true;
    if (key.starts_with("GNU.sparse.")) extension_.refusal = refusal_of('S');
    if (key == "path") extension_.name = value;
    if (key == "size") {
      extension_.size = parse_decimal(value);
      extension_.broken = extension_.broken || !extension_.size;
    }
  }
}

void TarReader::add_member(const TarHeader& header, std::uint64_t body) {
  TarEntry entry;
  entry.name = extension_.name.value_or(header.name);
  entry.checked_name = !extension_.name;
  entry.header = at_;
  entry.offset = body;
  entry.size = extension_.size.value_or(*header.size);
  if (!has_body(header.type)) entry.size = 0;
  // A size in both places must be the same, unless the header cannot hold it.
  if (extension_.size && *header.size != 0 && *header.size != entry.size) extension_.broken = true;
  if (!header.is_file()) entry.what = refusal_of(header.type);
  if (!extension_.refusal.empty()) entry.what = extension_.refusal;
  if (entry.name.size() > kMaxName) {
    entry.what = fmt::format("has a name of {} bytes", entry.name.size());
    entry.name.resize(kMaxName);
  }
  const bool passed_over = header.type == '5' || header.type == 'D' || header.type == 'V' ||
                           (header.is_file() && entry.name.ends_with('/'));
  if (!entry.what.empty()) entry.kind = TarEntry::Kind::refused;
  if (extension_.broken) {
    entry.kind = TarEntry::Kind::damage;
    entry.what = "the header that names a member is damaged";
    entry.name.clear();
    entry.lost = {extension_.hint.empty() ? header.name : extension_.hint};
  }
  if (body > file_.size() || entry.size > file_.size() - body) return add_overlong(entry);
  at_ = body + padded(entry.size);
  if (!passed_over) pending_ = std::move(entry);
}

// The body seems to go beyond the file: either the size is wrong, or the file is cut off.
void TarReader::add_overlong(TarEntry entry) {
  const auto next = find_header(entry.offset);
  const std::uint64_t there = next.value_or(file_.size()) - std::min(entry.offset, file_.size());
  const std::string place = fmt::format("{} bytes expected, {} are there", entry.size, there);
  entry.what = next ? "its size is wrong: " + place : "is cut off: " + place;
  if (!next) {
    cut_off_ =
        fmt::format("is cut off at byte {}: {} of {}", file_.size(), place, printable(entry.name));
  }
  if (entry.kind != TarEntry::Kind::damage) entry.kind = TarEntry::Kind::refused;
  ready_.push_back(std::move(entry));
  at_ = next.value_or(file_.size());
}

std::optional<std::uint64_t> TarReader::find_header(std::uint64_t from) {
  for (; from + kTarBlock <= file_.size(); from += kTarBlock) {
    const auto block = file_.peek(from, kTarBlock, kScanWindow);
    if (block.size() < kTarBlock) break;
    if (!has_plain_headers_ && any_ && !has_tar_magic(block)) continue;
    const auto header = parse_tar_header(block);
    if (header && header->size) return from;
  }
  return {};
}

// Goes back to a header within the last member's body, whose size must be wrong then.
bool TarReader::step_back() {
  const auto inner = find_header(scan_from_);
  if (!inner || *inner >= at_) return false;
  if (pending_ && pending_->kind == TarEntry::Kind::file) {
    pending_->kind = TarEntry::Kind::refused;
    pending_->what = "its size is wrong";
  }
  accept_pending();
  at_ = *inner;
  return true;
}

// No header where one should be: the last member's size may be wrong, or the header is damaged.
void TarReader::recover() {
  if (step_back()) return;
  accept_pending();
  const auto next = find_header(at_);
  const std::uint64_t end = next.value_or(file_.size());
  TarEntry damage{
      TarEntry::Kind::damage, "", gap_from_, gap_from_, end - gap_from_, true, "", {}, false};
  damage.what = fmt::format("bytes {} to {} hold no readable header", gap_from_, end);
  collect_remains(at_, end, damage);
  damage.cut = file_.size() - at_ < kTarBlock;
  if (!next && damage.lost.empty()) damage.lost.push_back(extension_.hint);
  ready_.push_back(std::move(damage));
  at_ = gap_from_ = end;
}

// Names what the damaged headers between two places seem to have named.
void TarReader::collect_remains(std::uint64_t from, std::uint64_t to, TarEntry& damage) {
  if (extension_.name) damage.lost.push_back(*extension_.name);
  const bool named = extension_.name.has_value();
  extension_ = {};
  for (std::uint64_t block_at = from; block_at < to; block_at += kTarBlock) {
    const auto block = file_.peek(block_at, kTarBlock, kScanWindow);
    const bool expected = block_at == from;
    const bool partial = block.size() < kTarBlock;
    if (!expected && !has_tar_magic(block)) continue;
    const TarHeaderRemains remains = read_remains(block);
    extension_.broken = remains.is_extension;
    if (remains.is_extension) {
      const auto body = file_.peek(block_at + kTarBlock, kTarBlock, kScanWindow);
      extension_.hint = name_hint({reinterpret_cast<const char*>(body.data()), body.size()});
    }
    if (remains.is_extension || (expected && named)) continue;
    const bool is_header = partial || has_tar_magic(block) ||
                           (is_utf8(remains.name) && remains.name.find('.') != std::string::npos);
    damage.lost.push_back(is_header ? remains.name : "");
  }
}

void TarReader::accept_pending() {
  if (!pending_) return;
  ready_.push_back(std::move(*pending_));
  pending_.reset();
}

void TarReader::finish(bool has_mark) {
  accept_pending();
  done_ = true;
  if (!any_) {
    throw Error("expected a tar archive, found no header", file_.path().string());
  }
  if (extension_.headers > 0) {
    ready_.push_back({TarEntry::Kind::damage,
                      "",
                      file_.size(),
                      file_.size(),
                      0,
                      true,
                      "the archive ends before the member that a header announces",
                      {extension_.name.value_or("")},
                      true});
  }
  if (has_mark || !cut_off_.empty()) return;
  cut_off_ = fmt::format("ends at byte {} without an end mark: it may be cut off", file_.size());
}

}  // namespace blip2
