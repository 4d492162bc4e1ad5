#include "blip2/data/picture_loader.h"

#include <algorithm>
#include <chrono>
#include <new>
#include <utility>

#include "blip2/base/error.h"
#include "blip2/base/random.h"
#include "blip2/image/image.h"
#include "blip2/vision/image_encoder.h"

namespace blip2 {
namespace {

constexpr std::uint64_t kLiveView = 29;  // sub-stream of the seed

using Clock = std::chrono::steady_clock;

}  // namespace

struct PictureLoader::Job {
  std::int64_t step;
  std::vector<std::int64_t> places;
  LoadedPictures result;
  std::size_t left;  // pictures not read yet; guarded by the mutex
};

PictureLoader::PictureLoader(std::vector<std::string> pictures, PictureLoaderOptions options)
    : pictures_(std::move(pictures)), options_(std::move(options)) {
  for (std::size_t i = 0; i < std::max<std::size_t>(1, options_.threads); ++i) {
    threads_.emplace_back([this] { work(); });
  }
}

PictureLoader::~PictureLoader() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  has_work_.notify_all();
}

void PictureLoader::prepare(std::int64_t step, std::span<const std::int64_t> places) {
  const std::lock_guard lock(mutex_);
  if (jobs_.contains(step)) return;
  auto job = std::make_shared<Job>();
  job->step = step;
  job->places.assign(places.begin(), places.end());
  job->result.pixels.resize(places.size());
  job->result.failures.resize(places.size());
  job->left = places.size();
  for (std::size_t i = 0; i < places.size(); ++i) queue_.emplace_back(job, i);
  jobs_[step] = std::move(job);
  has_work_.notify_all();
}

LoadedPictures PictureLoader::take(std::int64_t step, std::span<const std::int64_t> places) {
  {
    const std::lock_guard lock(mutex_);
    const auto found = jobs_.find(step);
    const bool fits = found != jobs_.end() && std::ranges::equal(found->second->places, places);
    if (!fits && found != jobs_.end()) jobs_.erase(found);
  }
  prepare(step, places);
  std::unique_lock lock(mutex_);
  const std::shared_ptr<Job> job = jobs_.at(step);
  if (job->left > 0) {
    const auto start = Clock::now();
    is_done_.wait(lock, [&] { return job->left == 0; });
    ++waits_;
    seconds_waited_ += std::chrono::duration<double>(Clock::now() - start).count();
  }
  // Steps before this one will not be asked for again.
  jobs_.erase(jobs_.begin(), jobs_.upper_bound(step));
  return std::move(job->result);
}

void PictureLoader::work() {
  while (true) {
    std::pair<std::shared_ptr<Job>, std::size_t> task;
    {
      std::unique_lock lock(mutex_);
      has_work_.wait(lock, [&] { return closing_ || !queue_.empty(); });
      if (closing_) return;
      task = std::move(queue_.front());
      queue_.pop_front();
    }
    read(*task.first, task.second);
    const std::lock_guard lock(mutex_);
    if (--task.first->left == 0) is_done_.notify_all();
  }
}

void PictureLoader::read(Job& job, std::size_t i) const {
  const auto place = job.places[i];
  try {
    const Image image = load_image(pictures_.at(static_cast<std::size_t>(place)),
                                   options_.preprocessing.sixteen_bit);
    Random random(derive_seed(options_.seed, kLiveView, job.step, place));
    job.result.pixels[i] =
        to_tensor(options_.augmentation
                      ? augment(image, options_.preprocessing, *options_.augmentation, random)
                      : preprocess(image, options_.preprocessing));
  } catch (const Error& error) {
    job.result.failures[i] = error.what();
  } catch (const std::bad_alloc&) {
    job.result.failures[i] = "there is no memory to decode it";
  }
}

}  // namespace blip2
