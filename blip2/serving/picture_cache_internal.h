#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <list>
#include <map>
#include <mutex>

#include "blip2/base/keyed_hash.h"

namespace blip2 {

// What was computed of a picture; undefined tensors are not known.
struct KnownPicture {
  at::Tensor features;   // [1, P, De] of the generating model's encoder
  at::Tensor soft;       // [1, Q, width], if it depends on no prompt
  at::Tensor retrieval;  // [1, P, De] of the retrieving model's encoder, if that is another one

  // Takes what the other one has beside.
  void add(const KnownPicture& other);
  std::int64_t bytes() const;
};

// Features of pictures by their files' content, within a number of bytes: those that were not used
// for the longest time go first. Any thread may call its functions.
class PictureCache {
 public:
  using Key = KeyedHash::Value;
  explicit PictureCache(std::int64_t most_bytes) : most_bytes_(most_bytes) {}

  // What is known; nothing if the picture is not there.
  KnownPicture find(const Key& key);
  void put(const Key& key, const KnownPicture& picture);

  std::int64_t bytes() const;
  std::int64_t pictures() const;

 private:
  struct Entry {
    Key key;
    KnownPicture picture;
  };
  const std::int64_t most_bytes_;
  mutable std::mutex mutex_;
  std::list<Entry> entries_;  // used last first
  std::map<Key, std::list<Entry>::iterator> places_;
  std::int64_t bytes_ = 0;
};

}  // namespace blip2
