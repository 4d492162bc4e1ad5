#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace blip2 {

// The forms of data that are read; their names are the prefixes of a source's text.
enum class DataKind {
  jsonl,          // lines {"image": …, "caption": …}, in shards too
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
  std::filesystem::path path;  // absolute; braces not expanded
  std::map<std::string, std::string> options;

  // The option's value; empty if it is not given.
  std::string option(const std::string& name) const;
  // The same as an absolute path.
  std::optional<std::filesystem::path> path_option(const std::string& name) const;
};

// Reads "[kind:]path[?option=value&…]" with paths relative to the current folder. Without a kind it
// is recognised by name and content; a path that is not there counts as "jsonl", whose reader says
// so. Throws Error that lists the known kinds or options.
DataSource open_data_source(const std::string& text);

// The kind of the data that lie at a path; nothing if it is none of them.
std::optional<DataKind> recognise_data(const std::filesystem::path& path);

// What to do with data in a form that is not read, such as a compressed archive or a table, ending
// in "; "; empty for a file whose name says no such thing.
std::string hint_for_unread_data(const std::filesystem::path& path);

// The text with its paths made absolute, starting at `folder`.
std::string resolve_data_source(const std::string& text, const std::filesystem::path& folder);

// "s-{08..10}.tar" -> s-08.tar, s-09.tar, s-10.tar; "{a,b}" -> a, b; several braces multiply.
// Error if a range is malformed or there are more than `most` results.
std::vector<std::string> expand_braces(const std::string& pattern, std::size_t most = 1'000'000);

// The shards that a path stands for: a file of that name, the files with the extension in a folder
// (sorted), or those that a pattern with braces names. Error if a folder holds none.
std::vector<std::filesystem::path> shards_of(const std::filesystem::path& path,
                                             std::string_view extension);

}  // namespace blip2
