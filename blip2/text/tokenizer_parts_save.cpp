#include "blip2/io/base64.h"
#include "blip2/text/tokenizer_parts_internal.h"

namespace blip2 {
namespace {

using Json = nlohmann::ordered_json;

// The one step, or a Sequence of all under `key`.
Json sequence(const char* key, const std::vector<Json>& steps) {
  if (steps.empty()) return nullptr;
  if (steps.size() == 1) return steps[0];
  Json all = {{"type", "Sequence"}};
  all[key] = steps;
  return all;
}

Json replace(const char* kind, const std::string& pattern, const std::string& content) {
  return {{"type", "Replace"}, {"pattern", {{kind, pattern}}}, {"content", content}};
}

Json write_step(const NormalizerStep& step) {
  using Kind = NormalizerStep::Kind;
  switch (step.kind) {
    case Kind::nfc:
      return {{"type", "NFC"}};
    case Kind::lower_case:
      return {{"type", "Lowercase"}};
    case Kind::prepend:
      return {{"type", "Prepend"}, {"prepend", step.content}};
    case Kind::replace:
      return replace("String", step.pattern, step.content);
    case Kind::replace_spaces:
      return replace("Regex", " {2,}", step.content);
    case Kind::replace_white:
      return replace("Regex", "\\s+", step.content);
    case Kind::strip:
      return {{"type", "Strip"}, {"strip_left", step.left}, {"strip_right", step.right}};
    case Kind::charsmap:
      break;
  }
  return {{"type", "Precompiled"}, {"precompiled_charsmap", encode_base64(step.charsmap->blob())}};
}

Json write_step(const DecoderStep& step) {
  using Kind = DecoderStep::Kind;
  switch (step.kind) {
    case Kind::replace:
      return replace("String", step.pattern, step.content);
    case Kind::byte_fallback:
      return {{"type", "ByteFallback"}};
    case Kind::fuse:
      return {{"type", "Fuse"}};
    case Kind::strip:
      return {
          {"type", "Strip"}, {"content", step.content}, {"start", step.start}, {"stop", step.stop}};
    case Kind::metaspace:
      break;
  }
  return {{"type", "Metaspace"},
          {"replacement", step.pattern},
          {"prepend_scheme", step.drops_first ? "always" : "never"},
          {"split", true}};
}

template <typename Step>
Json write_all(const char* key, const std::vector<Step>& steps) {
  std::vector<Json> list;
  for (const Step& step : steps) list.push_back(write_step(step));
  return sequence(key, list);
}

const char* scheme_name(SpaceSplit::Prepend prepend) {
  if (prepend == SpaceSplit::Prepend::never) return "never";
  return prepend == SpaceSplit::Prepend::first ? "first" : "always";
}

}  // namespace

Json write_normalizer_steps(const std::vector<NormalizerStep>& steps) {
  return write_all("normalizers", steps);
}

Json write_decoder_steps(const std::vector<DecoderStep>& steps) {
  if (steps.empty()) return {{"type", "Sequence"}, {"decoders", Json::array()}};
  return write_all("decoders", steps);
}

Json write_space_split(const SpaceSplit& split) {
  std::vector<Json> steps;
  if (split.behind_spaces) {
    steps.push_back({{"type", "Split"},
                     {"pattern", {{"String", " "}}},
                     {"behavior", "MergedWithPrevious"},
                     {"invert", false}});
  }
  if (split.white_space) steps.push_back({{"type", "WhitespaceSplit"}});
  if (split.metaspace) {
    steps.push_back({{"type", "Metaspace"},
                     {"replacement", split.replacement},
                     {"prepend_scheme", scheme_name(split.prepend)},
                     {"split", split.split}});
  }
  return sequence("pretokenizers", steps);
}

Json write_byte_level(const BytePairModel& model) {
  std::vector<Json> steps;
  if (model.pattern != SplitPattern::none) {
    const bool dropping = drops_spaces(model.pattern);
    steps.push_back({{"type", "Split"},
                     {"pattern", {{"Regex", std::string(split_regex(model.pattern))}}},
                     {"behavior", dropping ? "Removed" : "Isolated"},
                     {"invert", dropping}});
  }
  if (model.digits != DigitSplit::none) {
    const bool single = model.digits == DigitSplit::single;
    steps.push_back({{"type", "Digits"}, {"individual_digits", single}});
  }
  steps.push_back({{"type", "ByteLevel"},
                   {"add_prefix_space", model.add_prefix_space},
                   {"trim_offsets", true},
                   {"use_regex", model.split_words}});
  return sequence("pretokenizers", steps);
}

}  // namespace blip2
