#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

namespace blip2 {

// The right texts for each picture and the right pictures for each text, as indices. Several
// threads may call the functions of this header at once.
struct Relevance {
  std::vector<std::vector<std::int64_t>> texts_of_image, images_of_text;
};

// Means over all queries that have a right item.
struct Recall {
  double r1 = 0, r5 = 0, r10 = 0;         // shares whose first 1, 5 or 10 results hold a right one
  double mean_rank = 0, median_rank = 0;  // rank of the best right item, from 1
  // mAP@R (Musgrave et al. 2020, section 3.2; ECCV Caption uses it): R is the number of right
  // items; the precisions at the right items among the first R results are summed and divided by R.
  double map_at_r = 0;
};
struct RetrievalScores {
  Recall image_to_text, text_to_image;
};

// The cosine of each picture's best query with each text: unit vectors [N, Q, E] and [M, E] -> [N,
// M]. It is computed in blocks of pictures, so that [N, M, Q] is never in memory.
at::Tensor contrast_scores(const at::Tensor& images, const at::Tensor& texts);

// The candidates for re-ranking: each picture's `most` best texts by contrast [N, M], and each
// text's `most` best pictures.
struct Candidates {
  at::Tensor for_images, for_texts;  // [N, M] bool
  at::Tensor pairs;  // [R, 2] int64: picture and text, each pair once, sorted by picture
};
Candidates candidates(const at::Tensor& contrast, std::int64_t most);

// Re-ranking as LAVIS does it: a candidate's score becomes matching [R] + contrast; all other items
// come after the candidates. The result has the scores of texts for pictures and of pictures for
// texts.
struct Reranked {
  at::Tensor texts_for_images, images_for_texts;  // [N, M] both
};
Reranked rerank(const at::Tensor& contrast, const Candidates& candidates,
                const at::Tensor& matching);

// The recalls in both directions, from scores [N, M] of texts for pictures and of pictures for
// texts. A query's rank is that of its best right item; wrong items come before right items of the
// same score.
RetrievalScores recalls(const at::Tensor& texts_for_images, const at::Tensor& images_for_texts,
                        const Relevance& relevance);

}  // namespace blip2
