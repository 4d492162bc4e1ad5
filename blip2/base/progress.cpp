#include "blip2/base/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "blip2/base/log.h"

namespace blip2 {
namespace {

constexpr std::chrono::milliseconds kBarInterval{100};
constexpr std::chrono::seconds kLineInterval{10};

std::string draw_bar(double share) {
  constexpr int kWidth = 20;
  const int filled = static_cast<int>(std::clamp(share, 0.0, 1.0) * kWidth);
  return "[" + std::string(filled, '#') + std::string(kWidth - filled, '-') + "]";
}

}  // namespace

std::string format_duration(double seconds) {
  const auto whole = static_cast<std::int64_t>(std::max(seconds, 0.0) + 0.5);
  const auto hours = whole / 3600, minutes = whole / 60 % 60, rest = whole % 60;
  return hours > 0 ? fmt::format("{}:{:02}:{:02}", hours, minutes, rest)
                   : fmt::format("{}:{:02}", minutes, rest);
}

Progress::Progress(std::string label, std::int64_t total, std::int64_t done)
    : label_(std::move(label)),
      total_(total),
      started_at_(done),
      done_(done),
      start_(Clock::now()),
      last_shown_(start_),
      terminal_(::isatty(STDERR_FILENO) == 1) {}

Progress::~Progress() {
  if (terminal_ && !finished_) std::fputs("\r\033[K", stderr);
}

std::string Progress::describe(const std::string& note) const {
  const double elapsed = std::chrono::duration<double>(Clock::now() - start_).count();
  const double rate = elapsed > 0 ? static_cast<double>(done_ - started_at_) / elapsed : 0;
  const double share = total_ > 0 ? static_cast<double>(done_) / static_cast<double>(total_) : 1;
  std::string text = label_ + (terminal_ ? " " + draw_bar(share) : "");
  text += fmt::format(" {}/{} {:.0f}%", done_, total_, 100 * share);
  if (rate > 0) text += fmt::format(" {:.3g}/s", rate);
  if (rate > 0 && done_ < total_) {
    text += fmt::format(" {} left", format_duration(static_cast<double>(total_ - done_) / rate));
  }
  return note.empty() ? text : text + " " + note;
}

void Progress::update(std::int64_t done, const std::string& note) {
  done_ = done;
  const auto now = Clock::now();
  if (now - last_shown_ < (terminal_ ? Clock::duration(kBarInterval) : kLineInterval)) return;
  last_shown_ = now;
  if (terminal_) {
    std::fprintf(stderr, "\r\033[K%s", describe(note).c_str());
  } else {
    log_line(describe(note));
  }
}

void Progress::finish(const std::string& note) {
  finished_ = true;
  const double elapsed = std::chrono::duration<double>(Clock::now() - start_).count();
  log_line(fmt::format("{} {}/{} in {}{}{}", label_, done_, total_, format_duration(elapsed),
                       note.empty() ? "" : ", ", note));
}

}  // namespace blip2
