#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace blip2 {

// The kinds of data that can be read; a source's text begins with the kind's name.
enum class DataKind {
  jsonl,          // lines {"image": …, "caption": …}, in one file or in shards
  lavis,          // one JSON list of such objects
  coco,           // COCO captions: {"images": […], "annotations": […]}
  karpathy,       // dataset_coco.json: {"images": [{"sentences": […], "split": …}]}
  visual_genome,  // "vg": region descriptions or questions and answers
  vqav2,          // {"questions": […]} and a file of annotations
  folder,         // pictures beside .txt or .json files, or with a metadata.jsonl or .csv
  tar             // WebDataset shards, shard-{0000..0009}.tar
};

std::string_view data_kind_name(DataKind kind);

struct DataSource {
  DataKind kind = DataKind::jsonl;
  std::filesystem::path path;  // absolute; braces are not expanded
  std::map<std::string, std::string> options;

  // The option's value; "" if the option is not given.
  std::string option(const std::string& name) const;
  // The option's value as an absolute path; nullopt if the option is not given.
  std::optional<std::filesystem::path> path_option(const std::string& name) const;
};

// Reads "[kind:]path[?option=value&…]" with paths relative to the current folder. A missing kind is
// recognised by name and content; a path that does not exist counts as "jsonl", whose reader then
// reports it. Throws Error that lists the known kinds or options.
DataSource open_data_source(const std::string& text);

// The kind of the data at a path; nullopt if it is of no known kind.
std::optional<DataKind> recognise_data(const std::filesystem::path& path);

// Advice, ending in "; ", on data of a kind that cannot be read, such as a compressed archive or a
// table; "" if the file's name says nothing of that sort.
std::string hint_for_unread_data(const std::filesystem::path& path);

// The source's text with its relative paths made absolute, relative to `folder`.
std::string resolve_data_source(const std::string& text, const std::filesystem::path& folder);

// "s-{08..10}.tar" -> s-08.tar, s-09.tar, s-10.tar; "{a,b}" -> a, b; several braces multiply.
// Error if a range is malformed or there are more than `most` results.
std::vector<std::string> expand_braces(const std::string& pattern, std::size_t most = 1'000'000);

// The shards that a path stands for: the file of that name, a folder's files with the extension
// (sorted), or the files that a pattern with braces names. Error if a folder holds no such file.
std::vector<std::filesystem::path> shards_of(const std::filesystem::path& path,
                                             std::string_view extension);

}  // namespace blip2
