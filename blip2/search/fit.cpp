#include "blip2/search/fit.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

#include "blip2/base/error.h"
#include "blip2/base/hash.h"
#include "blip2/io/base64.h"

namespace blip2 {
namespace {

// Chosen on the demo's index among other shares, factors and numbers of hits.
constexpr double kShare = 0.9;     // quantile of a picture's cosines with the bank
constexpr float kLowering = 1.5f;  // how much of it is taken off
constexpr std::size_t kBest = 3;   // of the lowered cosines, whose mean is the evidence

std::string packed(const std::vector<float>& values) {
  return encode_base64(
      {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)});
}

std::vector<float> unpacked(const std::string& text) {
  const std::string bytes = decode_base64(text);
  need(bytes.size() % sizeof(float) == 0, "expected whole numbers of 32 bits", "index: fit");
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  need(std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); }),
       "expected finite numbers", "index: fit");
  return values;
}

float cosine(const float* a, const float* b, std::size_t width) {
  float sums[8] = {};
  std::size_t d = 0;
  for (; d + 8 <= width; d += 8) {
    for (std::size_t l = 0; l < 8; ++l) sums[l] += a[d + l] * b[d + l];
  }
  float sum = 0;
  for (const float one : sums) sum += one;
  for (; d < width; ++d) sum += a[d] * b[d];
  return sum;
}

}  // namespace

FitScale::FitScale(std::vector<float> bank, std::size_t width, const Find& find,
                   const std::function<void()>& step)
    : width_(width), bank_(std::move(bank)) {
  for (std::size_t at = 0; at < bank_.size(); at += width_) {
    std::vector<float> of_hits;
    for (const Found& found : find(std::span(bank_).subspan(at, width_)))
      of_hits.push_back(lowered(found));
    if (!of_hits.empty()) reached_.push_back(evidence(std::move(of_hits)));
    step();
  }
  std::sort(reached_.begin(), reached_.end());
}

FitScale FitScale::from_text(const std::string& text) {
  const nlohmann::json object = nlohmann::json::parse(text, nullptr, false);
  need(object.is_object() && object.value("width", 0) > 0 && object.contains("bank") &&
           object["bank"].is_string() && object.contains("reached") &&
           object["reached"].is_string(),
       "expected width, bank and reached", "index: fit");
  const auto width = object["width"].get<std::size_t>();
  std::vector<float> bank = unpacked(object["bank"]), reached = unpacked(object["reached"]);
  need(bank.size() % width == 0 && std::is_sorted(reached.begin(), reached.end()),
       "expected texts of that width and sorted numbers", "index: fit");
  return {std::move(bank), width, std::move(reached)};
}

std::string FitScale::to_text() const {
  return nlohmann::json{{"width", width_}, {"bank", packed(bank_)}, {"reached", packed(reached_)}}
      .dump();
}

float FitScale::lowered(const Found& found) const {
  const std::size_t texts = bank_.size() / width_;
  if (texts == 0) return found.cosine;
  std::vector<float> best(texts, -2);
  for (std::size_t t = 0; t < texts; ++t) {
    for (std::size_t at = 0; at < found.vectors.size(); at += width_) {
      best[t] =
          std::max(best[t], cosine(bank_.data() + t * width_, found.vectors.data() + at, width_));
    }
  }
  const auto place =
      best.begin() + static_cast<std::ptrdiff_t>(kShare * static_cast<double>(texts - 1));
  std::nth_element(best.begin(), place, best.end());
  return found.cosine - kLowering * *place;
}

float FitScale::evidence(std::vector<float> lowered) {
  std::sort(lowered.begin(), lowered.end(), std::greater<>());
  lowered.resize(std::min(lowered.size(), kBest));
  float sum = 0;
  for (const float one : lowered) sum += one;
  return lowered.empty() ? -INFINITY : sum / static_cast<float>(lowered.size());
}

// Between two of the bank's texts in a straight line, and beyond the best one towards 1 as fast as
// the upper tenth rises, so that better evidence always has a higher probability.
double FitScale::probability(float evidence) const {
  const auto count = static_cast<double>(reached_.size());
  if (reached_.empty()) return 1;
  const auto above = std::upper_bound(reached_.begin(), reached_.end(), evidence);
  if (above == reached_.begin()) return 0;
  const auto below = static_cast<double>(above - reached_.begin());
  if (above != reached_.end()) {
    const float low = *std::prev(above), high = *above;
    return (below - 1 + (evidence - low) / (high - low)) / count;
  }
  const float rise =
      std::max(1e-6f, reached_.back() - reached_[static_cast<std::size_t>(0.9 * (count - 1))]);
  return 1 - std::exp(-2.3 * (evidence - reached_.back()) / rise) / count;
}

std::vector<std::string> bank_words(std::span<const std::string> vocabulary, std::size_t most) {
  std::vector<std::pair<std::uint64_t, std::string>> words;
  for (const std::string& word : vocabulary) {
    const bool plain =
        word.size() >= 4 && word.size() <= 12 &&
        std::all_of(word.begin(), word.end(), [](char c) { return c >= 'a' && c <= 'z'; });
    if (plain) words.emplace_back(hash_bytes(std::as_bytes(std::span(word)), 1), word);
  }
  std::sort(words.begin(), words.end());
  if (words.size() > most) words.resize(most);
  std::vector<std::string> chosen;
  for (auto& [hash, word] : words) chosen.push_back(std::move(word));
  return chosen;
}

}  // namespace blip2
