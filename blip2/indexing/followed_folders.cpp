#include "blip2/indexing/followed_folders.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <set>

#include "blip2/base/error.h"
#include "blip2/indexing/picture_walk.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;

// Paths may hold any byte: those that are not plain are written as %XX.
std::string escape(const std::string& path) {
  std::string text;
  for (const char c : path) {
    const bool plain = c > ' ' && c < 0x7f && c != '%';
    text += plain ? std::string(1, c) : fmt::format("%{:02x}", static_cast<unsigned char>(c));
  }
  return text;
}

std::string unescape(std::string_view text, const std::string& where) {
  std::string path;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      path += text[i];
      continue;
    }
    unsigned value = 0;
    const std::string_view digits = text.substr(i + 1, 2);
    const auto [end, error] = std::from_chars(digits.begin(), digits.end(), value, 16);
    need(error == std::errc() && end == digits.end() && digits.size() == 2,
         "the list of its folders is damaged", where);
    path += static_cast<char>(value);
    i += 2;
  }
  return path;
}

void require_folder(const std::string& path, const std::string& given) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (status.type() == fs::file_type::not_found) throw Error("there is no such folder", given);
  if (error) throw Error("cannot be read: " + error.message(), given);
  if (!fs::is_directory(status)) throw Error("expected a folder, got a file", given);
}

}  // namespace

std::string folders_to_text(const std::vector<std::string>& folders) {
  std::string text;
  for (const std::string& folder : folders) text += escape(folder) + "\n";
  return text;
}

std::vector<std::string> folders_from_text(const std::string& text, const std::string& where) {
  std::vector<std::string> folders;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    folders.push_back(unescape(std::string_view(text).substr(at, end - at), where));
    at = end + 1;
  }
  return folders;
}

std::vector<std::string> folders_to_follow(const PictureIndex* index,
                                           const std::vector<std::string>& added,
                                           const std::vector<std::string>& removed) {
  std::set<std::string> folders;
  if (index != nullptr) {
    const auto known = folders_from_text(index->value(kFollowedFolders).value_or(""), "index");
    folders.insert(known.begin(), known.end());
  }
  for (const std::string& given : added) {
    const std::string folder = real_folder(given);
    std::error_code error;
    // The update says that one is missing.
    if (folders.contains(folder) && !fs::is_directory(folder, error)) continue;
    require_folder(folder, given);
    folders.insert(folder);
  }
  for (const std::string& given : removed) {
    if (folders.erase(real_folder(given)) == 0) {
      throw Error("the index does not follow this folder", given);
    }
  }
  return {folders.begin(), folders.end()};
}

}  // namespace blip2
