#include "blip2/report/html_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <optional>

#include "blip2/base/error.h"
#include "blip2/image/image.h"
#include "blip2/io/base64.h"
#include "blip2/io/picture_format.h"

namespace blip2 {
namespace {

constexpr std::string_view kStyle =
    "body{font:16px/1.5 system-ui,sans-serif;color:#1b1f24;background:#fff;max-width:70rem;"
    "margin:2rem auto;padding:0 1rem}h1,h2,h3{line-height:1.2}"
    "table{border-collapse:collapse;margin:1rem 0}"
    "th,td{border-bottom:1px solid #d0d7de;padding:.3rem .8rem;text-align:left}"
    "td.n{text-align:right;font-variant-numeric:tabular-nums}"
    "pre{background:#f6f8fa;padding:1rem;overflow:auto;font-size:13px}"
    ".pictures{display:grid;grid-template-columns:repeat(auto-fill,minmax(11rem,1fr));gap:1rem}"
    "figure{margin:0;border:1px solid #d0d7de;border-radius:6px;padding:.5rem}"
    "figure img{display:block;width:100%;height:9rem;object-fit:contain}"
    "figcaption{font-size:13px;overflow-wrap:anywhere}figcaption div:first-child{font-weight:600}"
    ".hit{color:#2f6f4f}.miss{color:#6e7781}"
    "svg{max-width:100%;height:auto}svg text{font:12px system-ui,sans-serif;fill:#57606a}";

std::string tag(std::string_view name, std::string_view text) {
  return fmt::format("<{}>{}</{}>", name, escape_html(text), name);
}

bool is_number(const std::string& text) {
  char* end = nullptr;
  std::strtod(text.c_str(), &end);
  while (*end == ' ' || *end == '%') ++end;
  return !text.empty() && *end == '\0';
}

// Bytes of a well-formed UTF-8 sequence at the text's start, 0 if there is none.
std::size_t utf8_length(std::string_view text) {
  const auto lead = static_cast<unsigned char>(text[0]);
  const std::size_t length = lead < 0x80            ? 1
                             : lead >> 5 == 0b110   ? 2
                             : lead >> 4 == 0b1110  ? 3
                             : lead >> 3 == 0b11110 ? 4
                                                    : 0;
  if (length > text.size()) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xc0) != 0x80) return 0;
  }
  return length;
}

}  // namespace

std::string escape_html(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const std::size_t length = utf8_length(text);
    const char c = text[0];
    const bool control = length == 1 && ((c < ' ' && c != '\n' && c != '\t') || c == '\x7f');
    if (length == 0 || control) {
      out += "\xef\xbf\xbd";
    } else if (length > 1) {
      out += text.substr(0, length);
    } else {
      switch (c) {
        case '&':
          out += "&amp;";
          break;
        case '<':
          out += "&lt;";
          break;
        case '>':
          out += "&gt;";
          break;
        case '"':
          out += "&quot;";
          break;
        case '\'':
          out += "&#39;";
          break;
        default:
          out += c;
      }
    }
    text.remove_prefix(std::max<std::size_t>(length, 1));
  }
  return out;
}

std::string data_uri(std::string_view file) {
  const std::optional<PictureFormat> format = picture_format(file);
  if (!format) throw Error(fmt::format("expected a {} file for the report", picture_names()));
  const PictureKind& kind = picture_kind(*format);
  if (kind.in_browsers)
    return fmt::format("data:{};base64,{}", kind.media_type, encode_base64(file));
  const Image image = decode_image(std::as_bytes(std::span(file)), "picture", SixteenBit::scale);
  return "data:image/png;base64," + encode_base64(encode_png(image));
}

HtmlReport::HtmlReport(const std::string& title) : title_(title) {
  body_ = tag("h1", title);
}

void HtmlReport::heading(const std::string& text) {
  body_ += "\n" + tag("h2", text);
}
void HtmlReport::paragraph(const std::string& text) {
  body_ += "\n" + tag("p", text);
}
void HtmlReport::preformatted(const std::string& text) {
  body_ += "\n" + tag("pre", text);
}

void HtmlReport::table(const std::vector<std::string>& header,
                       const std::vector<std::vector<std::string>>& rows) {
  body_ += "\n<table><thead><tr>";
  for (const std::string& cell : header) body_ += tag("th", cell);
  body_ += "</tr></thead><tbody>";
  for (const auto& row : rows) {
    body_ += "\n<tr>";
    for (const std::string& cell : row) {
      body_ += is_number(cell) ? "<td class=\"n\">" : "<td>";
      body_ += escape_html(cell) + "</td>";
    }
    body_ += "</tr>";
  }
  body_ += "</tbody></table>";
}

void HtmlReport::pictures(std::span<const ReportPicture> pictures) {
  std::string grid = "\n<div class=\"pictures\">";
  for (const ReportPicture& picture : pictures) {
    grid += "\n<figure>";
    if (!picture.file.empty()) grid += "<img alt=\"\" src=\"" + data_uri(picture.file) + "\">";
    grid += "<figcaption>";
    for (const std::string& line : picture.lines) grid += tag("div", line);
    if (picture.hit) {
      grid += *picture.hit ? "<div class=\"hit\">hit</div>" : "<div class=\"miss\">miss</div>";
    }
    grid += "</figcaption></figure>";
  }
  body_ += grid + "</div>";
}

void HtmlReport::line_chart(const std::string& title, const std::string& x_label,
                            const std::string& y_label, std::span<const ReportSeries> series) {
  body_ += "\n" + tag("h3", title) + "\n" + svg_line_chart(x_label, y_label, series);
}

std::string HtmlReport::html() const {
  return fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<title>{}</title>\n<style>{}</style></head><body>\n{}\n</body></html>\n",
      escape_html(title_), kStyle, body_);
}

}  // namespace blip2
