#include "blip2/report/html_report.h"

#include <gmock/gmock.h>

#include <cmath>

#include "blip2/base/error.h"

namespace blip2 {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(EscapeHtmlTest, LeavesNoMarkup) {
  EXPECT_EQ(escape_html("<b a=\"1\" c='2'>&"), "&lt;b a=&quot;1&quot; c=&#39;2&#39;&gt;&amp;");
  EXPECT_EQ(escape_html("\xc3\xa9\xf0\x9f\x98\x80"), "\xc3\xa9\xf0\x9f\x98\x80");
  EXPECT_EQ(escape_html(std::string("a\0b\xff\xc3", 5)),
            "a\xef\xbf\xbd"
            "b\xef\xbf\xbd\xef\xbf\xbd");
}

TEST(DataUriTest, EncodesBase64) {
  EXPECT_EQ(data_uri("\xff\xd8\xff"), "data:image/jpeg;base64,/9j/");
  EXPECT_EQ(data_uri("\xff\xd8\xff"
                     "a"),
            "data:image/jpeg;base64,/9j/YQ==");
  EXPECT_EQ(data_uri("\xff\xd8\xff"
                     "ab"),
            "data:image/jpeg;base64,/9j/YWI=");
  EXPECT_EQ(data_uri("RIFFxxxxWEBP"), "data:image/webp;base64,UklGRnh4eHhXRUJQ");
  EXPECT_EQ(data_uri("GIF89a"), "data:image/gif;base64,R0lGODlh");
  EXPECT_EQ(data_uri("BM"), "data:image/bmp;base64,Qk0=");
  EXPECT_THROW(data_uri("\xff\x0a"), Error);
  EXPECT_THROW(data_uri(""), Error);
}

TEST(HtmlReportTest, HoldsWhatIsPutIn) {
  HtmlReport report("A <report>");
  report.heading("Figures");
  report.paragraph("1 < 2");
  report.preformatted("seed = 1");
  report.table({"what", "value"}, {{"R@1", "35.2 %"}, {"<script>", "x"}});
  const std::vector<ReportPicture> pictures{{"\xff\xd8\xff", {"a cat", "a & b"}},
                                            {"\xff\xd8\xff", {"x"}, true},
                                            {"\xff\xd8\xff", {"y"}, false}};
  report.pictures(pictures);
  const std::string html = report.html();
  EXPECT_THAT(html, HasSubstr("<title>A &lt;report&gt;</title>"));
  EXPECT_THAT(html, HasSubstr("<p>1 &lt; 2</p>"));
  EXPECT_THAT(html, HasSubstr("<td class=\"n\">35.2 %</td>"));
  EXPECT_THAT(html, HasSubstr("<td>&lt;script&gt;</td>"));
  EXPECT_THAT(html, HasSubstr("src=\"data:image/jpeg;base64,/9j/\""));
  EXPECT_THAT(html, HasSubstr("<div>a &amp; b</div></figcaption>"));
  EXPECT_THAT(html, HasSubstr("<div>x</div><div class=\"hit\">hit</div></figcaption>"));
  EXPECT_THAT(html, HasSubstr("<div>y</div><div class=\"miss\">miss</div></figcaption>"));
  EXPECT_THAT(html, Not(HasSubstr("http")));
}

TEST(LineChartTest, DrawsEachSeriesWithALegend) {
  const std::vector<ReportSeries> series{{"loss", {{0, 4}, {100, 1}, {200, NAN}, {300, 0.5}}},
                                         {"a<b", {{0, 2}}}};
  const std::string svg = svg_line_chart("step", "nats", series);
  EXPECT_THAT(svg, HasSubstr(">300</text>"));
  EXPECT_THAT(svg, HasSubstr(">4</text>"));
  EXPECT_THAT(svg, HasSubstr("a&lt;b"));
  EXPECT_THAT(svg, HasSubstr("d=\"M70.0 15.0L"));  // the first point: left, top
  EXPECT_THAT(svg, Not(HasSubstr("nan")));
}

TEST(LineChartTest, EmptyAndFlatSeriesHaveAxes) {
  const std::vector<ReportSeries> series{{"none", {}}, {"flat", {{3, 7}}}};
  EXPECT_THAT(svg_line_chart("x", "y", series), Not(HasSubstr("nan")));
  EXPECT_THAT(svg_line_chart("x", "y", {}), HasSubstr("</svg>"));
}

}  // namespace
}  // namespace blip2
