#pragma once

#include <torch/torch.h>

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "blip2/image/transform.h"

namespace blip2 {

struct PictureLoaderOptions {
  Preprocessing preprocessing;
  std::optional<Augmentation> augmentation;  // nullopt: the plain picture at every step
  std::uint64_t seed = 0;                    // of the augmentation
  std::size_t threads = 2;
};

// One step's pictures, ready for the encoder.
struct LoadedPictures {
  std::vector<at::Tensor> pixels;     // B of [3, H, W] f32; undefined where one cannot be read
  std::vector<std::string> failures;  // B: why a picture cannot be read; "" for a good one

  bool is_bad(std::size_t i) const { return !failures[i].empty(); }
};

// Reads, decodes and augments pictures on threads of its own, ahead of the step that needs them.
// The pictures of a step depend on the seed, the step and the files alone: not on the number of
// threads, nor on how far ahead the loader reads. Its functions are for one thread at a time.
class PictureLoader {
 public:
  // `pictures`: paths or places in tar shards.
  PictureLoader(std::vector<std::string> pictures, PictureLoaderOptions options);
  ~PictureLoader();
  PictureLoader(const PictureLoader&) = delete;
  PictureLoader& operator=(const PictureLoader&) = delete;

  // Starts to read a step's pictures, given by their places in the list; does nothing if that step
  // is being read already. Each step prepared holds the memory of a batch until take().
  void prepare(std::int64_t step, std::span<const std::int64_t> places);

  // The step's pictures; waits for pictures that are not ready. If `places` differ from the
  // prepared ones, the pictures are read now.
  LoadedPictures take(std::int64_t step, std::span<const std::int64_t> places);

  // How often take() had to wait, and for how long, in seconds.
  std::int64_t waits() const { return waits_; }
  double seconds_waited() const { return seconds_waited_; }

 private:
  struct Job;
  void work();
  void read(Job& job, std::size_t i) const;

  std::vector<std::string> pictures_;
  PictureLoaderOptions options_;
  std::int64_t waits_ = 0;
  double seconds_waited_ = 0;

  std::mutex mutex_;
  std::condition_variable has_work_, is_done_;
  bool closing_ = false;
  std::deque<std::pair<std::shared_ptr<Job>, std::size_t>> queue_;
  std::map<std::int64_t, std::shared_ptr<Job>> jobs_;  // by step
  std::vector<std::jthread> threads_;
};

}  // namespace blip2
