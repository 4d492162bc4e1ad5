#include "blip2/serving/picture_cache_internal.h"

namespace blip2 {

void KnownPicture::add(const KnownPicture& other) {
  if (!features.defined()) features = other.features;
  if (!soft.defined()) soft = other.soft;
  if (!retrieval.defined()) retrieval = other.retrieval;
}

std::int64_t KnownPicture::bytes() const {
  std::int64_t bytes = 0;
  for (const at::Tensor* tensor : {&features, &soft, &retrieval}) {
    if (tensor->defined()) bytes += static_cast<std::int64_t>(tensor->nbytes());
  }
  return bytes;
}

KnownPicture PictureCache::find(const Key& key) {
  const std::lock_guard lock(mutex_);
  const auto place = places_.find(key);
  if (place == places_.end()) return {};
  entries_.splice(entries_.begin(), entries_, place->second);
  return place->second->picture;
}

void PictureCache::put(const Key& key, const KnownPicture& picture) {
  const std::lock_guard lock(mutex_);
  const auto place = places_.find(key);
  if (place == places_.end()) {
    entries_.push_front({key, picture});
    places_[key] = entries_.begin();
  } else {
    entries_.splice(entries_.begin(), entries_, place->second);
    bytes_ -= entries_.front().picture.bytes();
    entries_.front().picture.add(picture);
  }
  bytes_ += entries_.front().picture.bytes();
  while (bytes_ > most_bytes_) {
    bytes_ -= entries_.back().picture.bytes();
    places_.erase(entries_.back().key);
    entries_.pop_back();
  }
}

std::int64_t PictureCache::bytes() const {
  const std::lock_guard lock(mutex_);
  return bytes_;
}

std::int64_t PictureCache::pictures() const {
  const std::lock_guard lock(mutex_);
  return std::ssize(entries_);
}

}  // namespace blip2
