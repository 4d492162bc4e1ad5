#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "blip2/search/test_index.h"

// An index whose content is a function of its generation, so that whoever opens it can tell whether
// anything is wrong: for the tests with killed writers, full disks, and readers beside a writer.
namespace blip2::testing {

class IndexHistory {
 public:
  // What the index has after `generation` commits.
  explicit IndexHistory(std::int64_t generation) {
    while (generation_ < generation) step(nullptr);
  }

  // The next generation's changes, given to the writer too, before its commit().
  void step(IndexWriter* writer) {
    ++generation_;
    Random random(derive_seed(5, generation_));
    for (std::uint64_t i = 0; i < 4; ++i) {
      const std::uint64_t seed = static_cast<std::uint64_t>(generation_) * 10 + i;
      put(writer, fmt::format("/new/{}", seed), seed);
    }
    put(writer, fmt::format("/copies/{}", generation_), *files_.at(any(random)));
    put(writer, any(random), static_cast<std::uint64_t>(generation_) * 10 + 9);
    const std::string moved = any(random);
    const std::uint64_t seed = *files_.at(moved);
    remove(writer, moved);
    put(writer, fmt::format("/moved/{}", generation_), seed);
    if (generation_ % 5 == 0) remove_many(writer, random);
    put(writer, fmt::format("/bad/{}", generation_ % 7), std::nullopt);
    describe(writer, *files_.at(any(random)));
  }

  // What is wrong with the index; "" if it is what it should be.
  std::string problem(const PictureIndex& index) const {
    if (index.generation() != generation_) return "another generation";
    if (index.value("step") != std::to_string(generation_)) return "the value";
    std::set<std::uint64_t> seeds;
    std::int64_t good = 0;
    for (const auto& [path, seed] : files_) {
      if (seed) ++good, seeds.insert(*seed);
    }
    if (index.files() != good || index.bad_files() != std::ssize(files_) - good) return "counts";
    if (index.pictures() != std::ssize(seeds)) return "the number of pictures";
    if (const std::string text = wrong_files(index); !text.empty()) return text;
    return wrong_pictures(index, seeds);
  }

  std::int64_t generation() const { return generation_; }

 private:
  std::string any(Random& random) const {
    std::vector<std::string> good;
    for (const auto& [path, seed] : files_) {
      if (seed) good.push_back(path);
    }
    return good.at(random.below(good.size()));
  }
  void put(IndexWriter* writer, const std::string& path, std::optional<std::uint64_t> seed) {
    files_[path] = seed;
    if (writer == nullptr) return;
    if (seed) {
      put_picture(*writer, *seed, path);
    } else {
      writer->put_file({path, 1, generation_, std::nullopt, "damaged"});
    }
  }
  void remove(IndexWriter* writer, const std::string& path) {
    files_.erase(path);
    if (writer != nullptr) writer->remove_file(path);
  }
  void remove_many(IndexWriter* writer, Random& random) {
    for (std::size_t count = files_.size() / 3; count > 0; --count) remove(writer, any(random));
  }
  void describe(IndexWriter* writer, std::uint64_t seed) {
    captions_[seed] = fmt::format("caption {}", generation_);
    if (writer == nullptr) return;
    writer->set_caption(*writer->find_picture(test_content(seed)), captions_[seed]);
    writer->set_value("step", std::to_string(generation_));
  }

  std::string wrong_files(const PictureIndex& index) const {
    std::map<std::string, std::optional<std::int64_t>> found;
    for (const bool bad : {false, true}) {
      for (const FileFacts& file : index.list_files(bad, 0, 1'000'000)) {
        found[file.path] = file.picture;
      }
    }
    if (found.size() != files_.size()) return "the number of files";
    for (const auto& [path, seed] : files_) {
      const auto file = found.find(path);
      if (file == found.end()) return "there is no file " + path;
      const auto picture = seed ? index.picture_of(test_content(*seed)) : std::nullopt;
      if (file->second != picture) return "another picture of " + path;
    }
    return "";
  }
  std::string wrong_pictures(const PictureIndex& index,
                             const std::set<std::uint64_t>& seeds) const {
    std::vector<std::int64_t> numbers;
    for (const std::uint64_t seed : seeds) {
      const auto number = index.picture_of(test_content(seed));
      if (!number) return fmt::format("there is no picture of {}", seed);
      numbers.push_back(*number);
      if (!has_vectors(index, *number, seed)) return fmt::format("the vectors of {}", seed);
      const PictureFacts facts = index.facts(*number);
      if (facts.width != test_facts(seed).width) return fmt::format("the width of {}", seed);
      const auto caption = captions_.find(seed);
      if (facts.caption != (caption == captions_.end() ? "" : caption->second)) {
        return fmt::format("the caption of {}", seed);
      }
    }
    std::sort(numbers.begin(), numbers.end());
    return numbers_in(index, index.wanted_by({})) == numbers ? "" : "the rows that are alive";
  }

  std::int64_t generation_ = 0;
  std::map<std::string, std::optional<std::uint64_t>> files_;  // content's seed; none: a bad file
  std::map<std::uint64_t, std::string> captions_;
};

}  // namespace blip2::testing
