#include "blip2/search/clip_retrieval_layout.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

#include "blip2/base/error.h"
#include "blip2/base/file.h"
#include "blip2/base/interrupt.h"
#include "blip2/io/half.h"
#include "blip2/search/mean_vector.h"

namespace blip2 {
namespace {

static_assert(std::endian::native == std::endian::little);  // as the headers of npy files say

constexpr std::size_t kPicturesOfFile = 1'000'000;

// NumPy's file of an array: version 1.0, with a header that ends at a multiple of 64 bytes.
class NpyFile {
 public:
  NpyFile(const std::filesystem::path& path, const std::string& type, const std::string& shape)
      : file_(path) {
    std::string header =
        fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}), }}", type, shape);
    header.resize((header.size() + 10 + 64) / 64 * 64 - 10, ' ');
    header.back() = '\n';
    const auto size = static_cast<std::uint16_t>(header.size());
    file_.write(std::string_view("\x93NUMPY\x01\x00", 8));
    file_.write(std::as_bytes(std::span(&size, 1)));
    file_.write(header);
  }

  template <typename Number>
  void add(const std::vector<Number>& numbers) {
    file_.write(std::as_bytes(std::span(numbers)));
  }
  void commit() { file_.commit(); }

 private:
  AtomicFile file_;
};

std::vector<std::uint16_t> halves_of(const std::vector<float>& vectors) {
  std::vector<std::uint16_t> halves(vectors.size());
  std::ranges::transform(vectors, halves.begin(), to_half);
  return halves;
}

std::string metadata_line(const PictureIndex& index, std::int64_t picture) {
  const PictureFacts facts = index.facts(picture);
  nlohmann::ordered_json paths = nlohmann::ordered_json::array();
  for (const FileFacts& file : index.files_of(picture)) paths.push_back(file.path);
  nlohmann::ordered_json line{{"image_path", paths.empty() ? "" : paths[0]},
                              {"caption", facts.caption},
                              {"paths", paths},
                              {"content", facts.content.hex()},
                              {"width", facts.width},
                              {"height", facts.height},
                              {"taken", nullptr},
                              {"camera", facts.camera}};
  if (facts.taken) line["taken"] = *facts.taken;
  using Handler = nlohmann::ordered_json::error_handler_t;  // paths need not be UTF-8
  return line.dump(-1, ' ', false, Handler::replace) + "\n";
}

std::filesystem::path subfolder(const std::filesystem::path& folder, const char* name) {
  std::error_code error;
  std::filesystem::create_directories(folder / name, error);
  if (error) throw Error("cannot make the folder: " + error.message(), (folder / name).string());
  return folder / name;
}

void require_empty(const std::filesystem::path& folder) {
  std::error_code error;
  if (!std::filesystem::exists(folder, error)) return;
  const bool empty = std::filesystem::is_empty(folder, error);
  if (error) throw Error("cannot read the folder: " + error.message(), folder.string());
  need(empty, "expected an empty folder or none, got one that holds files", folder.string());
}

void write_files(const PictureIndex& index, const std::filesystem::path& folder,
                 std::span<const std::int64_t> pictures, const std::string& number,
                 bool with_queries) {
  const VectorShape shape = index.identity().shape;
  const std::size_t n = pictures.size();
  NpyFile means(subfolder(folder, "img_emb") / ("img_emb_" + number + ".npy"), "<f4",
                fmt::format("{}, {}", n, shape.width));
  std::optional<NpyFile> all;
  if (with_queries)
    all.emplace(subfolder(folder, "img_queries") / ("img_queries_" + number + ".npy"), "<f2",
                fmt::format("{}, {}, {}", n, shape.queries, shape.width));
  AtomicFile lines(subfolder(folder, "metadata") / ("metadata_" + number + ".jsonl"));
  for (const std::int64_t picture : pictures) {
    if (interrupted()) throw Interrupted{};
    const std::vector<float> vectors = index.vectors_of(picture);
    means.add(mean_vector(vectors, shape.width));
    if (all) all->add(halves_of(vectors));
    lines.write(metadata_line(index, picture));
  }
  means.commit();
  if (all) all->commit();
  lines.commit();
}

std::vector<std::int64_t> numbers_of(const PictureIndex& index) {
  std::vector<std::int64_t> numbers;
  const std::vector<CodePart> parts = index.parts();
  for (std::size_t part = 0; part < parts.size(); ++part)
    for (std::size_t row = 0; row < parts[part].pictures(); ++row)
      if (parts[part].wanted[row / 64] >> (row % 64) & 1)
        numbers.push_back(index.picture_at(part, row));
  return numbers;
}

}  // namespace

std::int64_t write_clip_retrieval_layout(const PictureIndex& index,
                                         const std::filesystem::path& folder, bool with_queries) {
  require_empty(folder);
  const std::vector<std::int64_t> numbers = numbers_of(index);
  const std::size_t files =
      std::max<std::size_t>(1, (numbers.size() + kPicturesOfFile - 1) / kPicturesOfFile);
  const std::size_t digits = std::to_string(files - 1).size();
  for (std::size_t i = 0; i < files; ++i) {
    const std::size_t first = i * kPicturesOfFile;
    const std::size_t count = std::min(kPicturesOfFile, numbers.size() - first);
    write_files(index, folder, std::span(numbers).subspan(first, count),
                fmt::format("{:0{}}", i, digits), with_queries);
  }
  return std::ssize(numbers);
}

}  // namespace blip2
