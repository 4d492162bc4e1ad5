#include "blip2/language/perplexity.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "blip2/base/error.h"
#include "blip2/base/interrupt.h"
#include "blip2/base/progress.h"

namespace blip2 {
namespace {

using Int = std::int64_t;
using Windows = std::vector<std::vector<std::int32_t>>;

Windows cut(std::span<const std::int32_t> text, const TextWindows& how) {
  const Int step = how.tokens - std::ssize(how.begin);
  if (step < 1) {
    throw Error(fmt::format("expected windows of more than {} tokens, got {}", how.begin.size(),
                            how.tokens),
                "windows of a text", "each of them begins with those that begin a text");
  }
  Windows windows;
  for (std::size_t at = 0; at < text.size(); at += static_cast<std::size_t>(step)) {
    auto& window = windows.emplace_back(how.begin.begin(), how.begin.end());
    const auto part = text.subspan(at, std::min<std::size_t>(text.size() - at, step));
    window.insert(window.end(), part.begin(), part.end());
  }
  if (!windows.empty() && windows.back().size() < 2) windows.pop_back();
  if (windows.empty()) throw Error("expected a text of at least two tokens", "text");
  return windows;
}

// The tokens at a position of windows of one length.
std::vector<std::int32_t> column(std::span<const std::vector<std::int32_t>> windows,
                                 std::size_t position) {
  std::vector<std::int32_t> tokens;
  for (const auto& window : windows) tokens.push_back(window[position]);
  return tokens;
}

// The sum of the losses of windows of one length, which are read side by side.
double loss_of(const FrozenLanguage& language, std::span<const std::vector<std::int32_t>> windows) {
  const Int rows = std::ssize(windows);
  const std::size_t length = windows.front().size();
  const auto session = language.make_session(1, static_cast<Int>(length));
  std::vector<Int> offsets;
  for (Int row = 0; row <= rows; ++row) offsets.push_back(row);
  const at::Tensor first = at::tensor(column(windows, 0)).to(at::kLong);
  std::span<const float> logits = session->prompt(language.embed(first), offsets);
  double nats = 0;
  for (std::size_t position = 1; position < length; ++position) {
    if (interrupted()) throw Interrupted{};
    const std::vector<std::int32_t> next = column(windows, position);
    const at::Tensor table =
        at::from_blob(const_cast<float*>(logits.data()), {rows, session->vocabulary()});
    const at::Tensor losses = at::cross_entropy_loss(table, at::tensor(next).to(at::kLong), {},
                                                     at::Reduction::None);  // [rows]
    nats += losses.sum(at::kDouble).item<double>();
    if (position + 1 < length) logits = session->advance(next);
  }
  return nats;
}

}  // namespace

double TextLoss::perplexity() const {
  return std::exp(nats / static_cast<double>(predicted));
}

TextLoss text_loss(const FrozenLanguage& language, std::span<const std::int32_t> text,
                   const TextWindows& how) {
  const at::InferenceMode inference;
  const Windows windows = cut(text, how);
  Progress progress("windows", std::ssize(windows));
  TextLoss loss;
  for (std::size_t at = 0; at < windows.size();) {
    std::size_t end = at;
    while (end < windows.size() && end - at < static_cast<std::size_t>(how.rows) &&
           windows[end].size() == windows[at].size()) {
      ++end;
    }
    loss.nats += loss_of(language, std::span(windows).subspan(at, end - at));
    loss.predicted += static_cast<Int>((end - at) * (windows[at].size() - 1));
    progress.update(static_cast<Int>(at = end));
  }
  progress.finish();
  return loss;
}

}  // namespace blip2
