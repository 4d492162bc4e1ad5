#include "blip2/data/text_state_cache.h"

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <thread>
#include <utility>

#include "blip2/base/interrupt.h"
#include "blip2/base/progress.h"

namespace blip2 {
namespace {

// The time between two checks whether other processes have finished.
constexpr std::chrono::milliseconds kTextInterval{20};

RowKey row_key(const TokenIds& text) {
  return {content_hash(std::as_bytes(std::span(text))), 0};
}

std::filesystem::path subfolder(const std::filesystem::path& root, const TextStateKey& key) {
  const std::string text = key.to_text();
  return root / content_hash(std::as_bytes(std::span(text))).hex();
}

}  // namespace

struct TextStateCache::Text {
  const TokenIds* tokens;
  RowKey key;
};

// One call of ensure().
struct TextStateCache::Run {
  const TextReader& read;
  const EnsureOptions& options;
  std::optional<Progress> progress;
  std::int64_t left = 0, total = 0, added = 0;

  void report(std::int64_t fewer) {
    left -= fewer;
    if (progress) progress->update(total - left);
  }
};

std::string TextStateKey::to_text() const {
  constexpr int kFormat = 1;  // of the rows; raise it when the same key gives other states
  const nlohmann::ordered_json json = {{"text_states", kFormat},
                                       {"model", model},
                                       {"width", width},
                                       {"storage", c10::toString(storage)}};
  return json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

TextStateCache::TextStateCache(const std::filesystem::path& root, const TextStateKey& key)
    : key_(key), folder_(subfolder(root, key)) {
  TORCH_CHECK(key.width > 0, "text states: bad width");
}

FeatureStore& TextStateCache::store_of(std::int64_t length) {
  auto& store = stores_[length];
  if (!store) {
    const auto bytes =
        static_cast<std::size_t>(length * key_.width) * c10::elementSize(key_.storage);
    store = std::make_unique<FeatureStore>(folder_ / fmt::format("{}_tokens", length),
                                           key_.to_text(), bytes);
  }
  return *store;
}

std::map<std::int64_t, std::vector<TextStateCache::Text>> TextStateCache::find_missing(
    std::span<const TokenIds> texts) {
  std::map<std::int64_t, std::vector<Text>> missing;
  std::set<RowKey> seen;
  for (const TokenIds& text : texts) {
    const RowKey key = row_key(text);
    if (text.empty() || !seen.insert(key).second) continue;
    if (!store_of(std::ssize(text)).find(key)) missing[std::ssize(text)].push_back({&text, key});
  }
  return missing;
}

std::int64_t TextStateCache::ensure(std::span<const TokenIds> texts,
                                    const std::function<TextReader()>& open,
                                    const EnsureOptions& options) {
  auto missing = find_missing(texts);
  if (missing.empty()) return 0;
  const TextReader read = open();
  Run run{.read = read, .options = options, .progress = {}};
  for (const auto& [length, some] : missing) run.total += std::ssize(some);
  run.left = run.total;
  if (!options.quiet) run.progress.emplace(options.label, run.total);
  for (auto& [length, some] : missing) compute(length, std::move(some), run);
  if (run.progress) run.progress->finish();
  return run.added;
}

namespace {

// Takes out of `missing` what is there by now, and what this process shall read next.
template <typename Text>
std::vector<Text> take_texts(std::vector<Text>& missing, FeatureStore& store,
                             const FeatureStore::Claims& claims, std::size_t most) {
  const auto lock = store.lock();
  std::erase_if(missing, [&](const Text& text) { return store.find(text.key).has_value(); });
  std::vector<Text> taken;
  std::erase_if(missing, [&](const Text& text) {
    const bool take = taken.size() < most && claims.take(text.key.picture);
    if (take) taken.push_back(text);
    return take;
  });
  return taken;
}

}  // namespace

// Reads texts of one length and keeps their states.
void TextStateCache::add(FeatureStore& store, std::span<const Text> part, Run& run) {
  std::vector<TokenIds> texts;
  std::vector<RowKey> keys;
  for (const Text& text : part) {
    texts.push_back(*text.tokens);
    keys.push_back(text.key);
  }
  const at::Tensor states = run.read(texts).to(key_.storage).contiguous();
  const auto rows = std::ssize(part) * std::ssize(texts.front());
  TORCH_CHECK(states.sizes() == at::IntArrayRef({rows, key_.width}), "text states: expected [",
              rows, ", ", key_.width, "], got ", states.sizes());
  store.append(*store.lock(), keys,
               {static_cast<const std::byte*>(states.const_data_ptr()), states.nbytes()});
  run.added += std::ssize(part);
}

// Texts of one length. Others may compute some of them meanwhile.
void TextStateCache::compute(std::int64_t length, std::vector<Text> missing, Run& run) {
  FeatureStore& store = store_of(length);
  store.require_space(std::ssize(missing));
  const FeatureStore::Claims claims(store);
  while (!missing.empty()) {
    if (interrupted()) throw Interrupted{};
    run.options.meanwhile();
    const std::size_t before = missing.size();
    const auto part =
        take_texts(missing, store, claims, static_cast<std::size_t>(run.options.batch_size));
    if (part.empty() && !missing.empty()) std::this_thread::sleep_for(kTextInterval);
    if (!part.empty()) add(store, part, run);
    for (const Text& text : part) claims.give_back(text.key.picture);
    run.report(static_cast<std::int64_t>(before - missing.size()));
  }
  store.sync(*store.lock());
}

LanguageStates TextStateCache::gather(std::span<const TokenIds> texts) const {
  LanguageStates states;
  std::vector<std::int64_t> begins{0};
  for (const TokenIds& text : texts) {
    states.lengths.push_back(std::ssize(text));
    begins.push_back(begins.back() + std::ssize(text));
  }
  states.rows = at::empty({begins.back(), key_.width}, key_.storage);
  auto* const out = static_cast<std::byte*>(states.rows.mutable_data_ptr());
  const auto bytes = static_cast<std::size_t>(key_.width) * c10::elementSize(key_.storage);
  at::parallel_for(0, std::ssize(texts), 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const auto place = static_cast<std::size_t>(i);
      if (texts[place].empty()) continue;
      const auto store = stores_.find(std::ssize(texts[place]));
      const auto row =
          store == stores_.end() ? std::nullopt : store->second->find(row_key(texts[place]));
      TORCH_CHECK(row, "text states: a text was not asked for before");
      store->second->read(*row, out + static_cast<std::size_t>(begins[place]) * bytes);
    }
  });
  return states;
}

}  // namespace blip2
