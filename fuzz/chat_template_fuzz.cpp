// The input as a chat template: it is refused with Error, by the parser or when it runs, or it
// writes a dialogue as valid UTF-8 of which no more is typed than there is.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "blip2/base/error.h"
#include "blip2/chat/chat_template.h"
#include "blip2/text/unicode.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  const blip2::TemplateLimits limits{
      .steps = 20'000, .bytes = 4 << 20, .output = 1 << 20, .depth = 200};
  try {
    const blip2::ChatTemplate chat({text, "fuzz", {{"bos_token", "<s>"}}}, limits);
    const blip2::ChatMessage turns[] = {{"system", "Be kind."},
                                        {"user", blip2::Prompt::plain("Größe\n<s>? ")},
                                        {"assistant", "1"},
                                        {"user", ""}};
    const blip2::Prompt prompt = chat.apply(turns, blip2::prompt_choices());
    if (blip2::to_valid_utf8(prompt.text()) != prompt.text()) std::abort();
    std::size_t last = 0;
    for (const blip2::TextStretch& typed : prompt.plain_parts()) {
      if (typed.begin < last || typed.end <= typed.begin) std::abort();
      last = typed.end;
    }
    if (last > prompt.text().size()) std::abort();
  } catch (const blip2::Error&) {
  }
  return 0;
}
