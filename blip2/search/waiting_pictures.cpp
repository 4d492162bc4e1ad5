#include "blip2/search/waiting_pictures_internal.h"

#include <algorithm>
#include <utility>

#include "blip2/search/part_merge_internal.h"

namespace blip2 {

void WaitingPictures::add(std::int64_t number, std::span<const float> vectors, const Basis* basis) {
  numbers_.push_back(number);
  if (basis == nullptr) {
    floats_.insert(floats_.end(), vectors.begin(), vectors.end());
    return;
  }
  const CodeSizes sizes = code_sizes(shape_);
  heads_.resize(heads_.size() + sizes.head);
  bodies_.resize(bodies_.size() + sizes.body);
  const float error = encode(*basis, vectors, std::span(heads_).last(sizes.head),
                             std::span(bodies_).last(sizes.body));
  largest_error_ = std::max(largest_error_, error);
}

bool WaitingPictures::are_many() const {
  return floats_.size() * sizeof(float) + heads_.size() + bodies_.size() > kVectorBudget;
}

void WaitingPictures::encode_floats(Generation& generation) {
  generation.basis = std::make_shared<const Basis>(Basis::fit(shape_, floats_));
  generation.fitted_on = static_cast<std::int64_t>(numbers_.size());
  EncodedPictures encoded = encode_pictures(*generation.basis, floats_);
  heads_ = std::move(encoded.heads);
  bodies_ = std::move(encoded.bodies);
  largest_error_ = encoded.largest_error;
}

void WaitingPictures::write(const std::filesystem::path& folder, Generation& generation) {
  if (!floats_.empty()) encode_floats(generation);
  IndexPart part;
  part.number = generation.next_part++;
  VectorFileWriter writer(folder / vector_file_name(part.number), shape_, numbers_);
  writer.add_bodies(bodies_);
  writer.add_heads(heads_);
  part.rows = numbers_.size();
  part.sums = writer.commit();
  part.largest_error = largest_error_;
  part.alive = all_alive(part.rows);
  generation.parts.push_back(std::move(part));
  *this = WaitingPictures(shape_);
}

}  // namespace blip2
