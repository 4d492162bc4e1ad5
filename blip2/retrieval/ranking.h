#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

namespace blip2 {

// Which texts belong to each picture and which pictures to each text.
struct Relevance {
  std::vector<std::vector<std::int64_t>> texts_of_image, images_of_text;
};

// Over all queries that have a right item.
struct Recall {
  double r1 = 0, r5 = 0, r10 = 0;         // shares whose first 1, 5 or 10 results hold a right one
  double mean_rank = 0, median_rank = 0;  // of the best right item, from 1
  // mAP@R (Musgrave et al. 2020, section 3.2; ECCV Caption measures by it): of the first R results,
  // R being the number of right items, the sum of the precisions at right ones, divided by R.
  double map_at_r = 0;
};
struct RetrievalScores {
  Recall image_to_text, text_to_image;
};

// Cosine of each picture's best query: unit vectors [N, Q, E] and [M, E] -> [N, M]. Blocks of
// pictures at a time, so that [N, M, Q] is never in memory.
at::Tensor contrast_scores(const at::Tensor& images, const at::Tensor& texts);

// What re-ranking asks for: each picture's `most` best texts by contrast [N, M], and each text's
// best pictures.
struct Candidates {
  at::Tensor for_images, for_texts;  // [N, M] bool
  at::Tensor pairs;                  // [R, 2] int64: picture and text, each pair once, by pictures
};
Candidates candidates(const at::Tensor& contrast, std::int64_t most);

// Re-ranking as LAVIS does it: a candidate's score becomes its matching [R] + contrast; all others
// come after them. Results: the scores of texts for pictures, of pictures for texts.
struct Reranked {
  at::Tensor texts_for_images, images_for_texts;  // [N, M] both
};
Reranked rerank(const at::Tensor& contrast, const Candidates& candidates,
                const at::Tensor& matching);

// Scores [N, M] of texts for pictures and of pictures for texts -> recalls both ways. A query's
// rank is that of its best right item; an item that is not right comes before right ones of the
// same score.
RetrievalScores recalls(const at::Tensor& texts_for_images, const at::Tensor& images_for_texts,
                        const Relevance& relevance);

}  // namespace blip2
