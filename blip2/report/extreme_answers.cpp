#include "blip2/report/extreme_answers.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

namespace blip2 {

void add_extreme_answers(HtmlReport& report, std::span<const ScoredAnswer> answers,
                         const std::string& score_name, std::size_t most,
                         const std::function<std::string(std::size_t)>& picture_of) {
  std::vector<std::size_t> order(answers.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](auto a, auto b) { return answers[a].score > answers[b].score; });
  const std::size_t best = std::min(most, (order.size() + 1) / 2);
  const std::size_t worst = std::min(most, order.size() - best);
  std::stable_sort(order.begin() + static_cast<std::ptrdiff_t>(best), order.end(),
                   [&](auto a, auto b) { return answers[a].score < answers[b].score; });
  const auto show = [&](const char* heading, std::span<const std::size_t> some) {
    if (some.empty()) return;
    report.heading(heading);
    std::vector<ReportPicture> pictures;
    for (const std::size_t i : some) {
      ReportPicture picture{picture_of(i), answers[i].lines};
      picture.lines.push_back(fmt::format("{} {:.3f}", score_name, answers[i].score));
      pictures.push_back(std::move(picture));
    }
    report.pictures(pictures);
  };
  show("Best answers", std::span(order).first(best));
  show("Worst answers", std::span(order).subspan(best, worst));
}

}  // namespace blip2
