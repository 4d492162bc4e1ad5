#include "blip2/objectives/mlm.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "blip2/base/error.h"
#include "blip2/base/random.h"

namespace blip2 {
namespace {

constexpr double kMasked = 0.8, kRandom = 0.1;

bool is_special(const WordMasking& masking, std::int64_t id) {
  return std::find(masking.special.begin(), masking.special.end(), id) != masking.special.end();
}

void check_masking(const WordMasking& masking) {
  if (masking.mask_token < 0 || masking.mask_token >= masking.vocabulary) {
    throw Error(fmt::format("expected a [MASK] token of 0 to {}, got {}", masking.vocabulary - 1,
                            masking.mask_token),
                "masked language modelling", "is this the Q-Former's own tokenizer?");
  }
  if (std::ssize(masking.special) >= masking.vocabulary) {
    throw Error(fmt::format("expected more words than the {} special ones, got {}",
                            masking.special.size(), masking.vocabulary),
                "masked language modelling");
  }
  if (!(masking.share > 0 && masking.share <= 1)) {
    throw Error(fmt::format("expected a share in (0, 1], got {}", masking.share),
                "masked language modelling");
  }
}

// Places of a text's words to predict, rising.
std::vector<std::int64_t> choose_places(const std::int64_t* ids, std::int64_t length,
                                        const WordMasking& masking, Random& random) {
  std::vector<std::int64_t> places;
  for (std::int64_t t = 0; t < length; ++t) {
    if (!is_special(masking, ids[t])) places.push_back(t);
  }
  random.shuffle(places);
  const auto wanted = std::lround(masking.share * static_cast<double>(length));
  const auto count = std::min<std::int64_t>(std::ssize(places), std::max<long>(1, wanted));
  places.resize(static_cast<std::size_t>(count));
  std::sort(places.begin(), places.end());
  return places;
}

std::int64_t random_word(const WordMasking& masking, Random& random) {
  for (;;) {
    const auto id =
        static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(masking.vocabulary)));
    if (!is_special(masking, id)) return id;
  }
}

std::int64_t replacement(std::int64_t word, const WordMasking& masking, Random& random) {
  const double draw = random.uniform();
  if (draw < kMasked) return masking.mask_token;
  return draw < kMasked + kRandom ? random_word(masking, random) : word;
}

}  // namespace

MaskedText mask_text(const TextRows& text, const WordMasking& masking, std::uint64_t seed,
                     std::int64_t first_text) {
  std::vector<std::uint64_t> seeds;
  for (std::int64_t row = 0; row < text.texts(); ++row) {
    seeds.push_back(derive_seed(seed, first_text + row));
  }
  return mask_text(text, masking, seeds);
}

MaskedText mask_text(const TextRows& text, const WordMasking& masking,
                     std::span<const std::uint64_t> seeds) {
  check_masking(masking);
  TORCH_CHECK(std::ssize(seeds) == text.texts(), "expected a seed for each of ", text.texts(),
              " texts, got ", seeds.size());
  MaskedText masked{{text.ids.clone(at::MemoryFormat::Contiguous), text.lengths}, {}, {}};
  auto* id = masked.inputs.ids.mutable_data_ptr<std::int64_t>();
  std::vector<std::int64_t> places, targets;
  std::int64_t begin = 0;
  for (std::size_t row = 0; row < text.lengths.size(); ++row) {
    Random random(seeds[row]);
    for (const std::int64_t t : choose_places(id + begin, text.lengths[row], masking, random)) {
      std::int64_t& word = id[begin + t];
      places.push_back(begin + t);
      targets.push_back(word);
      word = replacement(word, masking, random);
    }
    begin += text.lengths[row];
  }
  masked.places = at::tensor(places, at::kLong);
  masked.targets = at::tensor(targets, at::kLong);
  return masked;
}

}  // namespace blip2
