#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "blip2/data/feature_cache.h"
#include "blip2/data/feature_store.h"
#include "blip2/qformer/language_keys.h"

namespace blip2 {

using TokenIds = std::vector<std::int64_t>;

// Everything that a language model's states of a text depend on besides its tokens.
struct TextStateKey {
  std::string model;                       // tells models apart: weights, configuration, types
  std::int64_t width = 0;                  // D
  at::ScalarType storage = at::kBFloat16;  // or kHalf, kFloat

  std::string to_text() const;
};

// Maps texts to their states, packed [N, D] of any floating-point type, a row a token. A text's
// states must not depend on the texts beside it.
using TextReader = std::function<at::Tensor(std::span<const TokenIds>)>;

// A frozen language model's states of texts, computed once and kept on disk, as FeatureCache keeps
// the features of pictures: a text is identified by its tokens, several processes may use one
// folder at the same time and share the work, and when a process is stopped, what it has written is
// kept. Texts of each length have a store of their own, so that nothing is kept for padding. Const
// functions may run on several threads at once, but no function while ensure() runs.
class TextStateCache {
 public:
  // Keeps its files in the subfolder of `root` that is named by the key.
  TextStateCache(const std::filesystem::path& root, const TextStateKey& key);

  // Computes the missing states; `open` is called only if there are some. Returns the number of
  // texts that this process has added. Of `options` it takes batch_size (texts read together),
  // label, quiet and meanwhile. Throws Error (no space; the folder holds states of another model)
  // and Interrupted; what has been written is kept.
  std::int64_t ensure(std::span<const TokenIds> texts, const std::function<TextReader()>& open,
                      const EnsureOptions& options = {});

  // The states of texts that ensure() was called for, in the storage type. Error if a row is
  // damaged on disk.
  LanguageStates gather(std::span<const TokenIds> texts) const;

  const std::filesystem::path& folder() const { return folder_; }

 private:
  struct Text;
  struct Run;
  FeatureStore& store_of(std::int64_t length);
  std::map<std::int64_t, std::vector<Text>> find_missing(std::span<const TokenIds> texts);
  void compute(std::int64_t length, std::vector<Text> missing, Run& run);
  void add(FeatureStore& store, std::span<const Text> part, Run& run);

  TextStateKey key_;
  std::filesystem::path folder_;
  std::map<std::int64_t, std::unique_ptr<FeatureStore>> stores_;  // by the texts' length
};

}  // namespace blip2
