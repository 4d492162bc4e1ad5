#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace blip2 {

// Whether anything in an index fits a text. The best cosine alone does not say it: some texts are
// near to everything, and some pictures are near to every text. So a picture's cosine with the text
// is lowered by what it has with texts that belong to no picture in particular (the bank: words of
// the Q-Former's vocabulary), and compared with what the bank's texts reach in the same index.
// docs/search.md has the measurements.
class FitScale {
 public:
  static constexpr std::size_t kHits = 10;  // pictures of a text that are looked at

  // A picture that was found: its cosine with the text, and its vectors [Q, E].
  struct Found {
    float cosine = 0;
    std::vector<float> vectors;
  };
  // The kHits best pictures of a text's unit vector [E].
  using Find = std::function<std::vector<Found>(std::span<const float> text)>;

  // Measures an index by the bank's unit vectors [M, E]. `step` is called after each text; it may
  // throw.
  FitScale(
      std::vector<float> bank, std::size_t width, const Find& find,
      const std::function<void()>& step = [] {});
  // From to_text(); Error if it is none.
  static FitScale from_text(const std::string& text);
  std::string to_text() const;

  std::size_t width() const { return width_; }
  // The picture's cosine lowered by what it has with the bank.
  float lowered(const Found& found) const;
  // What says how well the best pictures fit, from lowered cosines of the kHits best ones.
  static float evidence(std::vector<float> lowered);
  // The share of texts that belong to no picture whose evidence is less, from 0 to 1.
  double probability(float evidence) const;

 private:
  FitScale(std::vector<float> bank, std::size_t width, std::vector<float> reached)
      : width_(width), bank_(std::move(bank)), reached_(std::move(reached)) {}

  std::size_t width_;
  std::vector<float> bank_;     // [M, E]
  std::vector<float> reached_;  // evidence of the bank's texts, sorted
};

// The words of the bank: whole words of a WordPiece vocabulary, 4 to 12 letters a to z, chosen by
// a hash; at most `most`.
std::vector<std::string> bank_words(std::span<const std::string> vocabulary,
                                    std::size_t most = 256);

}  // namespace blip2
