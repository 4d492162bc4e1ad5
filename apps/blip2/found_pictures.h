#pragma once

#include <optional>
#include <string>
#include <vector>

#include "blip2/report/html_report.h"
#include "blip2/retrieval/picture_search.h"

namespace blip2 {

// Prints pictures that were found on standard output.
class FoundPrinter {
 public:
  // `thumbnails`: auto, always or never, on a terminal.
  FoundPrinter(bool json, bool paths_only, const std::string& thumbnails);

  // `query`: printed with each picture where there are several searches.
  void print(const std::vector<FoundPicture>& found, const std::optional<std::string>& query) const;

 private:
  bool json_, paths_only_;
  enum class Protocol { none, kitty, iterm } protocol_;
};

// A page of pictures that were found.
class FoundPage {
 public:
  void add(const std::string& query, const std::vector<FoundPicture>& found);
  std::string html() const { return report_.html(); }

 private:
  HtmlReport report_{"Pictures found"};
};

}  // namespace blip2
