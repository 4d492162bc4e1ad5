// index_store VERB FOLDER [NUMBER]: an index whose content follows from its generation, for
// test_index_store.py.
//   write FOLDER STEPS    makes that many generations; the number of each
//   check FOLDER          the number of the index's generation, 0 without an index, if all is right
//   read FOLDER SECONDS   16 readers beside a writer; generations and answers
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>

#include "blip2/base/error.h"
#include "blip2/search/test_history.h"

namespace blip2 {
namespace {

using testing::IndexHistory;

void require_right(const PictureIndex& index) {
  const std::string problem = IndexHistory(index.generation()).problem(index);
  need(problem.empty(), problem, "generation " + std::to_string(index.generation()));
}

// The index's generation; nullptr if there is no index.
std::shared_ptr<const PictureIndex> opened(const std::string& folder) try {
  return PictureIndex::open(folder);
} catch (const Error& error) {
  if (error.message().rfind("there is no index here", 0) != 0) throw;
  return nullptr;
}

void write(const std::string& folder, std::int64_t steps) {
  IndexWriter writer(folder, testing::test_identity());
  const auto begin = opened(folder);
  IndexHistory history(begin ? begin->generation() : 0);
  for (std::int64_t i = 0; i < steps; ++i) {
    history.step(&writer);
    std::printf("%ld\n", static_cast<long>(writer.commit()));
    std::fflush(stdout);
  }
}

void check(const std::string& folder) {
  const auto index = opened(folder);
  if (index) require_right(*index);
  std::printf("%ld\n", static_cast<long>(index ? index->generation() : 0));
}

void read_until(const std::string& folder, const std::atomic<bool>& done,
                std::atomic<long>& answers) try {
  std::shared_ptr<const PictureIndex> index;
  while (!done) {
    if (!index || index->is_outdated()) index = PictureIndex::open(folder);
    require_right(*index);
    ++answers;
  }
} catch (const Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  std::_Exit(1);
}

void read(const std::string& folder, std::int64_t seconds) {
  write(folder, 1);
  IndexWriter writer(folder, testing::test_identity());
  IndexHistory history(1);
  std::atomic<bool> done = false;
  std::atomic<long> answers = 0;
  std::vector<std::jthread> readers;
  for (int i = 0; i < 16; ++i) readers.emplace_back([&] { read_until(folder, done, answers); });
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  while (std::chrono::steady_clock::now() < end) {
    history.step(&writer);
    writer.commit();
  }
  done = true;
  readers.clear();
  std::printf("generations %ld answers %ld\n", static_cast<long>(history.generation()),
              answers.load());
}

}  // namespace
}  // namespace blip2

int main(int argc, char** argv) try {
  const std::string verb = argc > 2 ? argv[1] : "";
  const std::int64_t number = argc > 3 ? std::atol(argv[3]) : 0;
  if (verb == "write") return blip2::write(argv[2], number), 0;
  if (verb == "check") return blip2::check(argv[2]), 0;
  if (verb == "read") return blip2::read(argv[2], number), 0;
  std::fprintf(stderr, "usage: index_store write|check|read FOLDER [NUMBER]\n");
  return 2;
} catch (const blip2::Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
