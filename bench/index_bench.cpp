// index_bench FOLDER PICTURES Q E [CHANGES]: seconds that an index of so many synthetic pictures
// takes to make, to open, to filter, to list and to update, beside the encoding of its pictures by
// a model. The folder must not be there; it is left behind.
#include <fmt/format.h>

#include <bit>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "blip2/base/error.h"
#include "blip2/base/random.h"
#include "blip2/search/picture_index.h"

namespace blip2 {
namespace {

template <typename Work>
void timed(const char* what, const Work& work) {
  const auto start = std::chrono::steady_clock::now();
  const std::int64_t result = work();
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  std::printf("%-28s %10.4f s  %ld\n", what, seconds.count(), static_cast<long>(result));
  std::fflush(stdout);
}

std::vector<float> unit_vectors(VectorShape shape, Random& random) {
  std::vector<float> all;
  for (std::int64_t q = 0; q < shape.queries; ++q) {
    const std::size_t begin = all.size();
    double squares = 0;
    for (std::int64_t i = 0; i < shape.width; ++i) {
      all.push_back(static_cast<float>(random.uniform(-1, 1) / (1 + 0.1 * i)));
      squares += all.back() * all.back();
    }
    for (std::size_t i = begin; i < all.size(); ++i)
      all[i] /= static_cast<float>(std::sqrt(squares));
  }
  return all;
}

std::string path_of(std::int64_t i) {
  return fmt::format("/photos/{:04}/{:02}/IMG_{:08}.jpg", i / 5000, i / 100 % 50, i);
}

void put(IndexWriter& writer, VectorShape shape, std::int64_t i, Random& random) {
  PictureFacts facts;
  facts.content = {scatter(static_cast<std::uint64_t>(i)), static_cast<std::uint64_t>(i)};
  facts.width = 4000, facts.height = 3000;
  if (i % 4 != 0) facts.taken = 1'400'000'000 + i * 60;
  facts.camera = i % 3 == 0 ? "Canon EOS R5" : "Apple iPhone 15 Pro";
  const std::int64_t number = writer.add_picture(facts, unit_vectors(shape, random));
  writer.put_file({path_of(i), 3'000'000, 1'400'000'000'000'000'000 + i, number, ""});
}

void fill(const std::string& folder, const IndexIdentity& identity, std::int64_t pictures) {
  IndexWriter writer(folder, identity);
  Random random(1);
  for (std::int64_t i = 0; i < pictures; ++i) {
    put(writer, identity.shape, i, random);
    if (i % 5000 == 4999) writer.commit();
  }
  writer.commit();
}

// A half of the changes are new files, a half removed ones.
std::int64_t update(const std::string& folder, const IndexIdentity& identity, std::int64_t pictures,
                    std::int64_t changes) {
  IndexWriter writer(folder, identity);
  const auto known = writer.files();
  Random random(2);
  for (std::int64_t i = 0; i < changes / 2; ++i) {
    put(writer, identity.shape, pictures + i, random);
    writer.remove_file(path_of(static_cast<std::int64_t>(random.below(pictures))));
  }
  return writer.commit();
}

std::int64_t wanted(const PictureIndex& index, const PictureFilter& filter) {
  std::int64_t count = 0;
  for (const auto& part : index.wanted_by(filter)) {
    for (const std::uint64_t word : part) count += std::popcount(word);
  }
  return count;
}

void measure(const std::string& folder, VectorShape shape, std::int64_t pictures,
             std::int64_t changes) {
  const IndexIdentity identity{"bench", "/model", shape};
  timed("made", [&] { return fill(folder, identity, pictures), pictures; });
  std::shared_ptr<const PictureIndex> index;
  timed("opened", [&] { return (index = PictureIndex::open(folder))->pictures(); });
  timed("opened again", [&] { return PictureIndex::open(folder)->pictures(); });
  timed("is_outdated, 1000 times", [&] {
    for (int i = 0; i < 1000; ++i) index->is_outdated();
    return 1000;
  });
  timed("facts and files of 1000", [&] {
    for (int i = 1; i <= 1000; ++i) index->facts(i * 7 % pictures + 1), index->files_of(i);
    return 1000;
  });
  PictureFilter folder_filter, date, camera, side;
  folder_filter.folder = "/photos/0001";
  date.after = 1'400'000'000 + pictures * 30;
  camera.camera = "canon";
  side.min_side = 2000;
  timed("filter: folder", [&] { return wanted(*index, folder_filter); });
  timed("filter: date", [&] { return wanted(*index, date); });
  timed("filter: camera", [&] { return wanted(*index, camera); });
  timed("filter: side", [&] { return wanted(*index, side); });
  timed("a page of files", [&] { return index->list_files(false, pictures / 2, 100).size(); });
  timed("all files for a writer", [&] { return IndexWriter(folder, identity).files().size(); });
  for (int i = 0; i < 3; ++i) {
    timed("updated", [&] { return update(folder, identity, pictures + i * changes, changes); });
  }
}

}  // namespace
}  // namespace blip2

int main(int argc, char** argv) try {
  if (argc < 5) {
    std::fprintf(stderr, "usage: index_bench FOLDER PICTURES Q E [CHANGES]\n");
    return 2;
  }
  blip2::measure(argv[1], {std::atol(argv[3]), std::atol(argv[4])}, std::atol(argv[2]),
                 argc > 5 ? std::atol(argv[5]) : 100);
  return 0;
} catch (const blip2::Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
