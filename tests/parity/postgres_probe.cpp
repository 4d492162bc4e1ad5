// Indexes of made-up vectors for tests/integration/test_postgres.py, and searches in them:
//   make INDEX SOURCE FIRST COUNT Q E [NAMES]  adds pictures FIRST … FIRST + COUNT - 1, each with a
//                                            file; NAMES has paths of the first ones, each ended by
//                                            a zero byte
//   remove INDEX FIRST COUNT                 removes files of pictures
//   caption INDEX FIRST TEXT                 sets a caption
//   copy INDEX URL SCHEMA                    copies it into Postgres
//   search INDEX URL SCHEMA SOURCE QUERIES TOP WAYS [FOLDER]
//                                            a line a query and way (local, exact, candidates):
//                                            milliseconds, scores and paths in hex
// SOURCE is a seed or a file of vectors in f32.
#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <map>
#include <random>
#include <sstream>
#include <string>

#include "blip2/base/error.h"
#include "blip2/base/interrupt.h"
#include "blip2/postgres/copy_index.h"
#include "blip2/postgres/remote_index.h"
#include "blip2/search/picture_index.h"

namespace {

using namespace blip2;
using Arguments = std::vector<std::string>;
using Clock = std::chrono::steady_clock;

// Vectors with the statistics of real ones: the spread falls off over the directions, and the
// vectors of a picture are much alike.
std::vector<float> vectors_of(std::uint64_t seed, std::int64_t count, std::int64_t width) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> common(static_cast<std::size_t>(width)), result;
  for (std::size_t i = 0; i < common.size(); ++i)
    common[i] = normal(random) / (1 + static_cast<float>(i) / 8);
  for (std::int64_t q = 0; q < count; ++q) {
    std::vector<float> vector = common;
    double square = 0;
    for (std::size_t i = 0; i < vector.size(); ++i) {
      vector[i] += 0.4f * normal(random) / (1 + static_cast<float>(i) / 8);
      square += vector[i] * vector[i];
    }
    for (const float x : vector) result.push_back(x / static_cast<float>(std::sqrt(square)));
  }
  return result;
}

// A seed, or a file of such vectors in f32, one picture or text after another.
std::vector<float> vectors_from(const std::string& source, std::int64_t at, std::int64_t count,
                                std::int64_t width) {
  if (!source.starts_with('/')) {
    const auto seed = std::stoull(source) * 1'000'003 + static_cast<std::uint64_t>(at);
    return vectors_of(seed, count, width);
  }
  std::vector<float> vectors(static_cast<std::size_t>(count * width));
  std::ifstream stream(source, std::ios::binary);
  const auto bytes = static_cast<std::streamsize>(vectors.size() * sizeof(float));
  stream.seekg(at * bytes);
  if (!stream.read(reinterpret_cast<char*>(vectors.data()), bytes))
    throw Error("too short", source);
  return vectors;
}

std::string path_of(std::int64_t number) {
  return fmt::format("/pictures/{:02}/{:07}.png", number % 50, number);
}

std::vector<std::string> names_in(const std::string& file) {
  std::ifstream stream(file, std::ios::binary);
  std::vector<std::string> names;
  for (std::string name; std::getline(stream, name, '\0');) names.push_back(name);
  return names;
}

void make(const Arguments& a) {
  const std::int64_t first = std::stoll(a[2]), count = std::stoll(a[3]);
  const VectorShape shape{std::stoll(a[4]), std::stoll(a[5])};
  const auto names = a.size() > 6 ? names_in(a[6]) : std::vector<std::string>();
  IndexWriter writer(a[0], {"made-up model", "/models/made up", shape});
  for (std::int64_t i = first; i < first + count; ++i) {
    PictureFacts facts;
    facts.content = {static_cast<std::uint64_t>(i), 77};
    facts.width = 100 + i % 7, facts.height = 200;
    if (i % 3 == 0) facts.taken = 1'500'000'000 + i;
    facts.camera = i % 2 == 0 ? "Canon EOS 'x'" : "";
    const auto at = static_cast<std::size_t>(i - first);
    FileFacts file;
    file.path = at < names.size() ? names[at] : path_of(i);
    file.bytes = static_cast<std::uint64_t>(1000 + i);
    file.modified = (1'400'000'000 + i) * 1'000'000'000;
    file.picture = writer.add_picture(facts, vectors_from(a[1], i, shape.queries, shape.width));
    writer.put_file(file);
  }
  writer.set_value("threshold", "it's \"0.5\"; \\");
  std::printf("%lld\n", static_cast<long long>(writer.commit()));
}

void remove(const Arguments& a) {
  const auto index = PictureIndex::open(a[0]);
  IndexWriter writer(a[0], index->identity());
  for (std::int64_t i = std::stoll(a[1]); i < std::stoll(a[1]) + std::stoll(a[2]); ++i)
    writer.remove_file(path_of(i));
  std::printf("%lld\n", static_cast<long long>(writer.commit()));
}

void caption(const Arguments& a) {
  const auto index = PictureIndex::open(a[0]);
  IndexWriter writer(a[0], index->identity());
  const auto picture = index->picture_of({std::stoull(a[1]), 77});
  writer.set_caption(picture.value(), a[2]);
  writer.commit();
}

void copy(const Arguments& a) {
  catch_interrupts();
  const CopyReport report = copy_to_postgres(a[0], {a[1], a[2]});
  std::printf(
      R"({"added": %lld, "removed": %lld, "pictures": %lld, "files": %lld, "unchanged": %s})"
      "\n",
      static_cast<long long>(report.added), static_cast<long long>(report.removed),
      static_cast<long long>(report.pictures), static_cast<long long>(report.files),
      report.unchanged ? "true" : "false");
}

std::string hex(const std::string& bytes) {
  std::string text;
  for (const char c : bytes) text += fmt::format("{:02x}", static_cast<unsigned char>(c));
  return text;
}

// Of a file: texts. Otherwise every third query is a picture, every fourth has a negative term.
std::vector<SearchTerm> terms_of(const std::string& source, std::int64_t query, VectorShape shape) {
  if (source.starts_with('/')) return {{vectors_from(source, query, 1, shape.width), 1}};
  const std::int64_t own = query + (std::int64_t{1} << 40),
                     queries = query % 3 == 2 ? shape.queries : 1;
  std::vector<SearchTerm> terms = {{vectors_from(source, own, queries, shape.width), 1}};
  if (query % 4 == 3) terms.push_back({vectors_from(source, 2 * own, 1, shape.width), -0.5f});
  return terms;
}

using Line = std::vector<std::pair<float, std::string>>;

void print(const char* way, std::int64_t query, const Line& line, Clock::duration took) {
  std::printf("%s %lld %.3f", way, static_cast<long long>(query),
              std::chrono::duration<double, std::milli>(took).count());
  for (const auto& [score, path] : line)
    std::printf(" %a:%s", static_cast<double>(score), hex(path).c_str());
  std::printf("\n");
}

Line local(const PictureIndex& index, std::span<const SearchTerm> terms, std::size_t top,
           const PictureFilter& filter) {
  Line line;
  const WantedBits wanted = index.wanted_by(filter);
  for (const Hit& hit : best_pictures(index.parts(wanted), terms, top, 1))
    line.push_back({hit.score, index.files_of(index.picture_at(hit.part, hit.row)).at(0).path});
  return line;
}

Line remote(RemoteIndex& index, std::span<const SearchTerm> terms, std::size_t top,
            const PictureFilter& filter, RemoteWay way) {
  Line line;
  for (const RemoteHit& hit : index.search(terms, top, filter, way, 1))
    line.push_back({hit.score, hit.files.at(0).path});
  return line;
}

void search(const Arguments& a) {
  const auto index = PictureIndex::open(a[0]);
  RemoteIndex there({a[1], a[2]});
  const VectorShape shape = there.identity().shape;
  PictureFilter filter;
  if (a.size() > 7) filter.folder = a[7];
  const auto top = static_cast<std::size_t>(std::stoull(a[5]));
  for (std::int64_t query = 0; query < std::stoll(a[4]); ++query) {
    const auto terms = terms_of(a[3], query, shape);
    std::istringstream ways(a[6]);
    for (std::string way; std::getline(ways, way, ',');) {
      const auto start = Clock::now();
      const Line line = way == "local"
                            ? local(*index, terms, top, filter)
                            : remote(there, terms, top, filter,
                                     way == "exact" ? RemoteWay::kExact : RemoteWay::kCandidates);
      print(way.c_str(), query, line, Clock::now() - start);
    }
  }
}

}  // namespace

int main(int argc, char** argv) try {
  const std::map<std::string, void (*)(const Arguments&)> verbs = {
      {"make", make}, {"remove", remove}, {"caption", caption}, {"copy", copy}, {"search", search}};
  verbs.at(argv[1])(Arguments(argv + 2, argv + argc));
  return 0;
} catch (const blip2::Interrupted&) {
  return 130;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
