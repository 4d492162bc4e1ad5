#include "apps/blip2/found_pictures.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string_view>

#include "apps/blip2/output.h"
#include "blip2/base/error.h"
#include "blip2/image/image.h"
#include "blip2/image/resize.h"
#include "blip2/io/base64.h"

namespace blip2 {
namespace {

using nlohmann::ordered_json;

std::string path_of(const FoundPicture& found) {
  return found.files.empty() ? "" : found.files[0].path;
}

// One text's score is its probability, if that was measured.
double score_of(const FoundPicture& found) {
  return found.probability.value_or(found.sum);
}

ordered_json object_of(const FoundPicture& found) {
  ordered_json object{{"path", path_of(found)}, {"score", score_of(found)}};
  object["itc"] = found.term_scores.size() == 1 ? ordered_json(found.term_scores[0])
                                                : ordered_json(found.term_scores);
  object["itm"] = found.itm ? ordered_json(*found.itm) : ordered_json();
  object["width"] = found.facts.width;
  object["height"] = found.facts.height;
  if (found.facts.taken) object["taken"] = *found.facts.taken;
  if (!found.facts.camera.empty()) object["camera"] = found.facts.camera;
  if (!found.facts.caption.empty()) object["caption"] = found.facts.caption;
  if (found.files.size() > 1) {
    for (const FileFacts& file : found.files) object["paths"].push_back(file.path);
  }
  return object;
}

// The picture's file as a PNG of at most `side` pixels; empty if it cannot be read.
std::string thumbnail(const FoundPicture& found, int side) {
  try {
    const Image image = load_image(path_of(found));
    const double scale =
        std::min(1.0, static_cast<double>(side) / std::max(image.width, image.height));
    const int width = std::max(1, static_cast<int>(image.width * scale));
    const int height = std::max(1, static_cast<int>(image.height * scale));
    return encode_png(resize(image, width, height, Filter::bicubic));
  } catch (const Error&) {
    return "";
  }
}

bool variable_is(const char* name, std::initializer_list<std::string_view> values) {
  const char* value = std::getenv(name);
  return value != nullptr && std::find(values.begin(), values.end(), value) != values.end();
}

// The graphics protocol of kitty: a PNG in base64, at most 4096 characters at a time.
void print_kitty(const std::string& png) {
  const std::string text = encode_base64(png);
  constexpr std::size_t kAtOnce = 4096;
  for (std::size_t at = 0; at < text.size(); at += kAtOnce) {
    const bool more = at + kAtOnce < text.size();
    fmt::print("\x1b_G{}m={};{}\x1b\\", at == 0 ? "f=100,a=T,r=6," : "", more ? 1 : 0,
               std::string_view(text).substr(at, kAtOnce));
  }
  fmt::print("\n");
}

void print_iterm(const std::string& png) {
  fmt::print("\x1b]1337;File=inline=1;height=6;size={}:{}\a\n", png.size(), encode_base64(png));
}

}  // namespace

FoundPrinter::FoundPrinter(bool json, bool paths_only, const std::string& thumbnails)
    : json_(json), paths_only_(paths_only), protocol_(Protocol::none) {
  const bool wanted =
      thumbnails == "always" || (thumbnails == "auto" && isatty(STDOUT_FILENO) == 1);
  if (!wanted || json || paths_only) return;
  if (variable_is("TERM_PROGRAM", {"iTerm.app"})) {
    protocol_ = Protocol::iterm;
  } else if (thumbnails == "always" || std::getenv("KITTY_WINDOW_ID") != nullptr ||
             variable_is("TERM_PROGRAM", {"WezTerm", "ghostty"}) ||
             variable_is("TERM", {"xterm-kitty", "xterm-ghostty"})) {
    protocol_ = Protocol::kitty;
  }
}

void FoundPrinter::print(const std::vector<FoundPicture>& found,
                         const std::optional<std::string>& query) const {
  for (const FoundPicture& one : found) {
    if (json_) {
      ordered_json object;
      if (query) object["query"] = *query;
      object.update(object_of(one));
      print_json(object);
      continue;
    }
    const std::string path = path_of(one), first = query.value_or("");
    const std::string score = fmt::format("{:.4f}", score_of(one));
    const std::string itc = fmt::format("itc {:.4f}", fmt::join(one.term_scores, " "));
    const std::string itm = one.itm ? fmt::format("itm {:.4f}", *one.itm) : "";
    if (paths_only_) {
      query ? print_row({first, path}) : print_row({path});
    } else if (query) {
      print_row({first, path, score, itc, itm});
    } else {
      print_row({path, score, itc, itm});
    }
    if (protocol_ == Protocol::none) continue;
    const std::string png = thumbnail(one, 256);
    if (!png.empty()) protocol_ == Protocol::kitty ? print_kitty(png) : print_iterm(png);
  }
}

void FoundPage::add(const std::string& query, const std::vector<FoundPicture>& found) {
  report_.heading(query);
  if (found.empty()) report_.paragraph("Nothing fits.");
  std::vector<ReportPicture> pictures;
  for (const FoundPicture& one : found) {
    ReportPicture picture{thumbnail(one, 256),
                          {path_of(one), fmt::format("score {:.4f}", score_of(one))}};
    if (!one.facts.caption.empty()) picture.lines.push_back(one.facts.caption);
    pictures.push_back(std::move(picture));
  }
  report_.pictures(pictures);
}

}  // namespace blip2
