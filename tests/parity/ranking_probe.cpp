// ranking FILE.json: for {"scores": [N][M], "texts_of_image", "images_of_text"} the recalls both
// ways, as JSON on standard output.
#include <iostream>
#include <vector>

#include "blip2/io/json.h"
#include "blip2/retrieval/ranking.h"

namespace {

nlohmann::json shown(const blip2::Recall& recall) {
  return {{"r1", recall.r1},
          {"r5", recall.r5},
          {"r10", recall.r10},
          {"mean_rank", recall.mean_rank},
          {"median_rank", recall.median_rank},
          {"map_at_r", recall.map_at_r}};
}

}  // namespace

int main(int, char** argv) {
  const nlohmann::json file = blip2::read_json(argv[1]);
  std::vector<at::Tensor> rows;
  for (const auto& row : file["scores"]) {
    rows.push_back(torch::tensor(row.get<std::vector<double>>(), at::kDouble));
  }
  using Numbers = std::vector<std::vector<std::int64_t>>;
  const blip2::Relevance relevance{file["texts_of_image"].get<Numbers>(),
                                   file["images_of_text"].get<Numbers>()};
  const at::Tensor scores = at::stack(rows);
  const auto result = blip2::recalls(scores, scores, relevance);
  std::cout << nlohmann::json{{"image_to_text", shown(result.image_to_text)},
                              {"text_to_image", shown(result.text_to_image)}};
  return 0;
}
