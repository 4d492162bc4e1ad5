#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace blip2 {

// A picture of a report: the bytes of its file (any that is read; empty: the file is missing) and
// the lines under it.
struct ReportPicture {
  std::string file;
  std::vector<std::string> lines;
  std::optional<bool> hit = std::nullopt;  // shown under the lines: hit or miss
};

// One line of a chart: points (x, y) in order of x; points that are not finite leave a gap.
struct ReportSeries {
  std::string name;
  std::vector<std::pair<double, double>> points;
};

// A self-contained HTML page, built from top to bottom: pictures are data: URIs, charts are inline
// SVG, and nothing is fetched when the page is viewed. All texts are escaped.
class HtmlReport {
 public:
  explicit HtmlReport(const std::string& title);

  void heading(const std::string& text);
  void paragraph(const std::string& text);
  void preformatted(const std::string& text);
  // Cells that are numbers are set flush right. Rows may be shorter than the header.
  void table(const std::vector<std::string>& header,
             const std::vector<std::vector<std::string>>& rows);
  // Throws Error if a file is of no format that is read.
  void pictures(std::span<const ReportPicture> pictures);
  void line_chart(const std::string& title, const std::string& x_label, const std::string& y_label,
                  std::span<const ReportSeries> series);

  // The whole page.
  std::string html() const;

 private:
  std::string title_, body_;
};

// Text as HTML: & < > " ' as entities, control characters and broken UTF-8 as U+FFFD.
std::string escape_html(std::string_view text);

// The data URI of a picture file, "data:image/png;base64,..."; Error for files of no format that is
// read. What browsers do not show (TIFF, HEIC) is decoded and becomes PNG; Error if it is damaged.
std::string data_uri(std::string_view file);

// A line chart as an SVG element: axes with round ticks, one coloured line for each series, a
// legend.
std::string svg_line_chart(const std::string& x_label, const std::string& y_label,
                           std::span<const ReportSeries> series);

}  // namespace blip2
