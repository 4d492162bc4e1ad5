#include "blip2/objectives/shared_batch.h"

#include <algorithm>

namespace blip2 {
namespace {

using Ids = std::vector<std::int64_t>;

// The places outside [first, first + count), each once, rising.
Ids foreign_places(const Ids& places, std::int64_t first, std::int64_t count) {
  Ids foreign;
  for (const std::int64_t place : places) {
    if (place >= 0 && (place < first || place >= first + count)) foreign.push_back(place);
  }
  std::sort(foreign.begin(), foreign.end());
  foreign.erase(std::unique(foreign.begin(), foreign.end()), foreign.end());
  return foreign;
}

// Places in the whole batch as places among the own rows and, behind them, the foreign ones.
Ids localise(Ids places, const Ids& foreign, std::int64_t first, std::int64_t count) {
  for (std::int64_t& place : places) {
    if (place < 0) continue;
    if (place >= first && place < first + count) {
      place -= first;
    } else {
      place = count + (std::lower_bound(foreign.begin(), foreign.end(), place) - foreign.begin());
    }
  }
  return places;
}

ImageKeysValues join_images(const ImageKeysValues& a, const ImageKeysValues& b) {
  ImageKeysValues joined{{}, a.images + b.images, a.positions};
  for (std::size_t l = 0; l < a.layers.size(); ++l) {
    joined.layers.push_back(a.layers[l].defined() ? at::cat({a.layers[l], b.layers[l]})
                                                  : a.layers[l]);
  }
  return joined;
}

TextRows select_texts(const TextRows& text, const Ids& places) {
  const Ids offsets = text.offsets();
  std::vector<at::Tensor> ids{text.ids.narrow(0, 0, 0)};
  TextRows selected;
  for (const std::int64_t place : places) {
    selected.lengths.push_back(text.lengths[static_cast<std::size_t>(place)]);
    ids.push_back(
        text.ids.narrow(0, offsets[static_cast<std::size_t>(place)], selected.lengths.back()));
  }
  selected.ids = at::cat(ids);
  return selected;
}

// Every process's texts, in the order of the ranks.
TextRows gather_texts(const Ranks& ranks, const TextRows& text) {
  const at::Tensor lengths = ranks.gather(at::tensor(text.lengths, at::kLong));
  const at::Tensor padded = pad_rows(text.ids, text.lengths);  // [b, T], T of this process
  const at::Tensor wide =
      at::zeros({padded.size(0), lengths.max().item<std::int64_t>()}, at::kLong);
  wide.narrow(1, 0, padded.size(1)).copy_(padded);
  return pack_text(ranks.gather(wide), {lengths.const_data_ptr<std::int64_t>(),
                                        static_cast<std::size_t>(lengths.numel())});
}

}  // namespace

MatchingRows fetch_negatives(const Ranks& ranks, const at::Tensor& features,
                             const ImageKeysValues& images, const TextRows& text,
                             const Negatives& negatives,
                             const std::function<ImageKeysValues(const at::Tensor&)>& project) {
  const at::Tensor all_features = ranks.gather(features);
  const TextRows all_texts = gather_texts(ranks, text);
  const std::int64_t count = text.texts(), first = ranks.rank() * count;
  const Ids pictures = foreign_places(negatives.images, first, count);
  const Ids texts = foreign_places(negatives.texts, first, count);
  MatchingRows rows{images, join_text(text, select_texts(all_texts, texts)), {}};
  if (!pictures.empty()) {
    const at::Tensor wanted = all_features.index_select(0, at::tensor(pictures, at::kLong));
    rows.images = join_images(images, project(wanted));
  }
  rows.negatives = {localise(negatives.images, pictures, first, count),
                    localise(negatives.texts, texts, first, count)};
  return rows;
}

}  // namespace blip2
