#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "blip2/data/feature_store.h"
#include "blip2/image/transform.h"
#include "blip2/nn/image_features.h"

namespace blip2 {

// Everything that features depend on besides the picture and the number of the view.
struct FeatureKey {
  std::string encoder;  // tells encoders apart: hash_module(…), configuration, compute type
  Preprocessing preprocessing;
  Augmentation augmentation;               // for the views after the first
  std::uint64_t seed = 0;                  // of the augmentation
  std::int64_t positions = 0, width = 0;   // P, D; of pictures of any aspect P is the most
  at::ScalarType storage = at::kBFloat16;  // or kHalf, kFloat

  // Whether pictures have different numbers of positions. A row then has room for the most of them,
  // of which pictures of nearly every aspect fill nearly all, and ends with its number.
  bool varies() const { return preprocessing.max_num_patches > 0; }
  std::size_t feature_bytes() const;  // of a row without that number

  std::string to_text() const;
};

// A hash of the names, shapes and values of a module's parameters and buffers, as 32 hexadecimal
// digits.
std::string hash_module(const torch::nn::Module& module);

// The rows that hold the features of some pictures.
struct FeatureTable {
  std::int64_t views = 0;
  std::vector<std::int64_t> rows;  // of picture i, view v: rows[i * views + v]; -1 if unreadable
  std::map<std::string, std::string> unreadable;  // path -> the reason, see drop_pictures()
  std::int64_t computed = 0;                      // rows that this process has added

  std::int64_t row(std::int64_t picture, std::int64_t view = 0) const {
    return rows[static_cast<std::size_t>(picture * views + view)];
  }
  // The table of `some` of the pictures; `all` are the table's pictures as they were given to
  // ensure().
  FeatureTable select(std::span<const std::string> all, std::span<const std::string> some) const;
};

// Maps pictures [B, 3, H, W] f32 to features [B, P, D] of any floating-point type. Pictures of
// different sides come one by one.
using Encoder = std::function<at::Tensor(const at::Tensor&)>;

struct EnsureOptions {
  std::int64_t views = 1;        // view 0 is the plain preprocessing, the others are augmented
  std::int64_t batch_size = 32;  // rows encoded and written together
  std::size_t threads = 2;       // threads that read and decode pictures ahead of the encoder
  std::string label = "features";
  bool quiet = false;  // no progress
  // Called between batches and while other processes compute missing features; may throw.
  std::function<void()> meanwhile = [] {};
};

// A frozen encoder's features of pictures, computed once and kept on disk. A picture is identified
// by its content: copies share their rows, and a changed file gets new rows. Several processes may
// use one folder at the same time and share the work on missing features. When a process is
// stopped, its finished rows are kept, and the other processes may take over the rows that it had
// begun. Which pictures are encoded in one batch follows from the pictures alone, not from the
// process that computes them. Const functions may run on several threads at once, but no function
// while ensure() runs.
class FeatureCache {
 public:
  // Keeps its files in the subfolder of `root` that is named by the key.
  FeatureCache(const std::filesystem::path& root, const FeatureKey& key);

  // Computes the missing views of the pictures. Pictures that cannot be read are listed in the
  // result. Throws Error (no space) and Interrupted; finished rows are kept in both cases.
  FeatureTable ensure(std::span<const std::string> pictures, const Encoder& encoder,
                      const EnsureOptions& options = {});

  // The features of the rows in the storage type. Error if a row is damaged on disk.
  ImageFeatures gather(std::span<const std::int64_t> rows) const;
  // Lets the system read rows from the disk that will be gathered soon, without waiting for it.
  void read_ahead(std::span<const std::int64_t> rows) const;

  std::int64_t rows() const { return store_.rows(); }
  const std::filesystem::path& folder() const { return store_.folder(); }

 private:
  struct Work;
  struct Pending;
  struct Pixels;
  Pending find_missing(std::span<const std::string> pictures, std::span<const ContentHash> hashes,
                       const EnsureOptions& options, const FeatureTable& table) const;
  std::vector<Work> take_work(Pending& pending, const FeatureStore::Claims& claims);
  Pixels decode(std::span<const Work> work, std::size_t threads) const;
  void compute(Pending& pending, const Encoder& encoder, const EnsureOptions& options,
               FeatureTable& table);
  void add(const Pixels& pixels, const Encoder& encoder, const FeatureStore::Claims& claims,
           FeatureTable& table);
  std::vector<std::byte> bytes_of(const ImageFeatures& features) const;

  FeatureKey key_;
  FeatureStore store_;
};

// The view of a picture (given by its number) at a step: uniformly distributed, a function of the
// arguments.
std::int64_t choose_view(std::int64_t picture, std::int64_t views, std::uint64_t seed,
                         std::int64_t step);

}  // namespace blip2
