#include <fmt/format.h>

#include <cmath>
#include <limits>

#include "blip2/report/html_report.h"

namespace blip2 {
namespace {

constexpr double kWidth = 760, kHeight = 340;                        // of the drawing
constexpr double kLeft = 70, kRight = 180, kTop = 15, kBottom = 50;  // its margins
// Okabe and Ito's colours, told apart by the colour-blind too.
constexpr std::string_view kColours[] = {"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                         "#e69f00", "#56b4e9", "#000000", "#999933"};

bool is_finite(const std::pair<double, double>& point) {
  return std::isfinite(point.first) && std::isfinite(point.second);
}

// One axis: its range in values, widened to whole steps, and where that lies in the drawing.
struct Axis {
  double low = std::numeric_limits<double>::infinity(), high = -low, step = 1;
  double from, to;

  void include(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  // Steps of 1, 2 or 5 times a power of ten, about five of them.
  void round() {
    if (!(low <= high)) low = 0, high = 1;
    if (low == high) low -= 0.5, high += 0.5;
    const double rough = (high - low) / 5, power = std::pow(10, std::floor(std::log10(rough)));
    const double scaled = rough / power;
    step = power * (scaled <= 1 ? 1 : scaled <= 2 ? 2 : scaled <= 5 ? 5 : 10);
    low = std::floor(low / step) * step;
    high = std::ceil(high / step) * step;
  }
  double place(double value) const { return from + (value - low) / (high - low) * (to - from); }
  int steps() const { return static_cast<int>(std::lround((high - low) / step)); }
  // Without the rounding error that adding up steps leaves.
  std::string label(int tick) const {
    const double value = low + tick * step;
    return fmt::format("{:.6g}", std::abs(value) < step / 1e6 ? 0. : value);
  }
};

std::string ticks(const Axis& x, const Axis& y) {
  std::string svg;
  for (int i = 0; i <= y.steps(); ++i) {
    const double at = y.place(y.low + i * y.step);
    svg += fmt::format(
        "<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" stroke=\"#d0d7de\"/>"
        "<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text>",
        x.from, at, x.to, at, x.from - 8, at + 4, y.label(i));
  }
  for (int i = 0; i <= x.steps(); ++i) {
    svg += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{}</text>",
                       x.place(x.low + i * x.step), y.from + 18, x.label(i));
  }
  return svg;
}

std::string line(const ReportSeries& series, const Axis& x, const Axis& y,
                 std::string_view colour) {
  std::string path;
  bool drawing = false;
  for (const auto& point : series.points) {
    if (is_finite(point)) {
      path += fmt::format("{}{:.1f} {:.1f}", drawing ? 'L' : 'M', x.place(point.first),
                          y.place(point.second));
    }
    drawing = is_finite(point);
  }
  return fmt::format(
      "<path d=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"1.8\" "
      "stroke-linejoin=\"round\" stroke-linecap=\"round\"/>",
      path, colour);
}

std::string legend_entry(const ReportSeries& series, std::size_t index, std::string_view colour) {
  const double y = kTop + 10 + 20 * static_cast<double>(index), x = kWidth - kRight + 15;
  return fmt::format(
      "<line x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\" stroke=\"{}\" stroke-width=\"3\"/>"
      "<text x=\"{}\" y=\"{}\">{}</text>",
      x, y, x + 22, y, colour, x + 28, y + 4, escape_html(series.name));
}

}  // namespace

std::string svg_line_chart(const std::string& x_label, const std::string& y_label,
                           std::span<const ReportSeries> series) {
  Axis x{.from = kLeft, .to = kWidth - kRight}, y{.from = kHeight - kBottom, .to = kTop};
  for (const ReportSeries& s : series) {
    for (const auto& point : s.points) {
      if (!is_finite(point)) continue;
      x.include(point.first);
      y.include(point.second);
    }
  }
  x.round();
  y.round();
  std::string svg =
      fmt::format("<svg viewBox=\"0 0 {} {}\" width=\"{}\" role=\"img\">", kWidth, kHeight, kWidth);
  svg += ticks(x, y);
  for (std::size_t i = 0; i < series.size(); ++i) {
    const std::string_view colour = kColours[i % std::size(kColours)];
    svg += line(series[i], x, y, colour) + legend_entry(series[i], i, colour);
  }
  svg += fmt::format(
      "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>"
      "<text transform=\"translate(16 {}) rotate(-90)\" text-anchor=\"middle\">{}</text></svg>",
      (x.from + x.to) / 2, kHeight - 8, escape_html(x_label), (y.from + y.to) / 2,
      escape_html(y_label));
  return svg;
}

}  // namespace blip2
