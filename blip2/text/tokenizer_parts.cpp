#include "blip2/text/tokenizer_parts_internal.h"

#include "blip2/base/error.h"
#include "blip2/io/base64.h"
#include "blip2/io/members.h"
#include "blip2/text/unicode.h"

namespace blip2 {
namespace {

using nlohmann::json;

constexpr const char* kNormalizers =
    "NFC, Lowercase, Prepend, Replace of a string, of \" {2,}\" or of \"\\s+\", Strip, "
    "Precompiled, Sequence";
constexpr const char* kByteLevel =
    "ByteLevel, with Llama 3's, Qwen2's, o200k's, tekken's or CLIP's Split or with Digits "
    "before it in a Sequence";

constexpr const char* kSpaceSplits =
    "WhitespaceSplit, Metaspace, or both in a Sequence; or a Split behind each space alone";

// The pattern of a Replace or Split: {"String": …} or {"Regex": …}.
std::string pattern_of(const json& value, const char* kind, const std::string& where) {
  return member_or<std::string>(object_member(value, "pattern", where), kind, "", where);
}

NormalizerStep read_replace(const json& value, const std::string& where) {
  NormalizerStep step{NormalizerStep::Kind::replace, pattern_of(value, "String", where),
                      string_member(value, "content", where)};
  if (!step.pattern.empty()) return step;
  const std::string regex = pattern_of(value, "Regex", where);
  if (regex != " {2,}" && regex != "\\s+") refuse_part("normalizer", value, where, kNormalizers);
  using Kind = NormalizerStep::Kind;
  step.kind = regex == "\\s+" ? Kind::replace_white : Kind::replace_spaces;
  return step;
}

NormalizerStep read_charsmap(const json& value, const std::string& where) {
  NormalizerStep step{NormalizerStep::Kind::charsmap};
  try {
    step.charsmap = std::make_shared<const Charsmap>(
        decode_base64(string_member(value, "precompiled_charsmap", where)), where);
  } catch (const Error& error) {
    if (!error.where().empty()) throw;  // the charsmap's own
    throw error.within(where);
  }
  return step;
}

NormalizerStep read_normalizer_step(const json& value, const std::string& where) {
  using Kind = NormalizerStep::Kind;
  const std::string type = type_of_part(value, where);
  if (type == "NFC") return {Kind::nfc};
  if (type == "Lowercase") return {Kind::lower_case};
  if (type == "Prepend") return {Kind::prepend, "", string_member(value, "prepend", where)};
  if (type == "Replace") return read_replace(value, where);
  if (type == "Strip") {
    return {Kind::strip, "", "", member_or(value, "strip_left", true, where),
            member_or(value, "strip_right", true, where)};
  }
  if (type != "Precompiled") refuse_part("normalizer", value, where, kNormalizers);
  return read_charsmap(value, where);
}

SpaceSplit::Prepend read_prepend(const json& value, const std::string& where) {
  // Old files say only whether a space is put before the text.
  const std::string missing =
      member_or(value, "add_prefix_space", true, where) ? "always" : "never";
  const std::string scheme = member_or<std::string>(value, "prepend_scheme", missing, where);
  if (scheme == "never") return SpaceSplit::Prepend::never;
  if (scheme == "first") return SpaceSplit::Prepend::first;
  if (scheme == "always") return SpaceSplit::Prepend::always;
  refuse_part("prepend_scheme", scheme, where, "never, first, always");
}

// One character.
std::string read_replacement(const json& value, const std::string& where) {
  std::string mark = member_or<std::string>(value, "replacement", "▁", where);
  if (mark.empty() || decode_utf8(mark).bytes != mark.size()) {
    throw Error("expected one character as \"replacement\", got \"" + mark.substr(0, 80) + "\"",
                where);
  }
  return mark;
}

SplitPattern read_split(const json& value, const std::string& where) {
  const std::string regex = pattern_of(value, "Regex", where);
  const std::string behavior = string_member(value, "behavior", where);
  const bool invert = member_or(value, "invert", false, where);
  for (const SplitPattern pattern :
       {SplitPattern::llama3, SplitPattern::qwen2, SplitPattern::o200k, SplitPattern::tekken,
        SplitPattern::clip, SplitPattern::clip_special}) {
    if (regex != split_regex(pattern)) continue;
    // Patterns that cover any text leave nothing out.
    if (behavior == "Removed" && invert) return pattern;
    if (behavior == "Isolated" && !invert && !drops_spaces(pattern)) return pattern;
  }
  refuse_part("pre_tokenizer", value, where, kByteLevel);
}

// Gemma's Split, behind each space.
bool is_split_at_spaces(const json& value, const std::string& where) {
  return type_of_part(value, where) == "Split" && pattern_of(value, "String", where) == " " &&
         string_member(value, "behavior", where) == "MergedWithPrevious" &&
         !member_or(value, "invert", false, where);
}

DecoderStep read_decoder_step(const json& value, const std::string& where) {
  using Kind = DecoderStep::Kind;
  const std::string type = type_of_part(value, where);
  if (type == "ByteFallback") return {Kind::byte_fallback};
  if (type == "Fuse") return {Kind::fuse};
  if (type == "Metaspace") {
    DecoderStep step{Kind::metaspace, read_replacement(value, where), " "};
    step.drops_first = read_prepend(value, where) != SpaceSplit::Prepend::never;
    return step;
  }
  if (type == "Replace" && !pattern_of(value, "String", where).empty()) {
    return {Kind::replace, pattern_of(value, "String", where),
            string_member(value, "content", where)};
  }
  if (type == "Strip") {
    DecoderStep step{Kind::strip, "", string_member(value, "content", where)};
    if (step.content.empty()) throw Error("expected one character as \"content\"", where);
    step.start = count_member(value, "start", 0, where);
    step.stop = count_member(value, "stop", 0, where);
    return step;
  }
  refuse_part("decoder", value, where,
              "Replace of a string, ByteFallback, Fuse, Strip, Metaspace, and Sequence of them");
}

// Calls visit on the value, or on each of its steps if it is a Sequence.
template <typename Visit>
void for_each_step(const json& value, const char* key, const std::string& where,
                   const Visit& visit) {
  if (type_of_part(value, where) != "Sequence") return visit(value, where);
  const json& steps = list_member(value, key, where);
  for (std::size_t i = 0; i < steps.size(); ++i) {
    visit(steps[i], where + "[" + std::to_string(i) + "]");
  }
}

}  // namespace

void refuse_part(const std::string& what, const json& value, const std::string& where,
                 const std::string& supported) {
  throw Error(what + " " + value.dump().substr(0, 200) + " is not supported", where,
              "supported: " + supported);
}

std::string type_of_part(const json& value, const std::string& where) {
  return value.is_null() ? "" : string_member(value, "type", where);
}

std::vector<NormalizerStep> read_normalizer_steps(const json& value, const std::string& where) {
  std::vector<NormalizerStep> steps;
  if (value.is_null()) return steps;
  for_each_step(value, "normalizers", where, [&](const json& step, const std::string& place) {
    steps.push_back(read_normalizer_step(step, place));
  });
  return steps;
}

SpaceSplit read_space_split(const json& value, const std::string& where) {
  SpaceSplit split;
  if (value.is_null()) return split;
  for_each_step(value, "pretokenizers", where, [&](const json& step, const std::string& place) {
    const std::string type = type_of_part(step, place);
    if (split.behind_spaces) refuse_part("pre_tokenizer", value, place, kSpaceSplits);
    if (type == "WhitespaceSplit" && !split.metaspace) {
      split.white_space = true;
    } else if (type == "Metaspace" && !split.metaspace) {
      split.metaspace = true;
      split.replacement = read_replacement(step, place);
      split.prepend = read_prepend(step, place);
      split.split = member_or(step, "split", true, place);
    } else if (is_split_at_spaces(step, place) && !split.metaspace && !split.white_space) {
      split.behind_spaces = true;
    } else {
      refuse_part("pre_tokenizer", step, place, kSpaceSplits);
    }
  });
  return split;
}

bool is_byte_level(const json& value, const std::string& where) {
  if (value.is_null()) return false;
  bool found = false;
  for_each_step(value, "pretokenizers", where, [&](const json& step, const std::string& place) {
    const std::string type = type_of_part(step, place);
    found = found || type == "ByteLevel" || type == "Digits" ||
            (type == "Split" && !is_split_at_spaces(step, place));
  });
  return found;
}

void read_byte_level(const json& value, BytePairModel& model, const std::string& where) {
  int place_in_order = 0;  // Split, Digits, ByteLevel, each at most once
  for_each_step(value, "pretokenizers", where, [&](const json& step, const std::string& place) {
    const std::string type = type_of_part(step, place);
    const int order = type == "Split" ? 1 : type == "Digits" ? 2 : type == "ByteLevel" ? 3 : 0;
    if (order <= place_in_order) refuse_part("pre_tokenizer", value, place, kByteLevel);
    place_in_order = order;
    if (order == 1) {
      model.pattern = read_split(step, place);
    } else if (order == 2) {
      model.digits = member_or(step, "individual_digits", false, place) ? DigitSplit::single
                                                                        : DigitSplit::runs;
    } else {
      model.add_prefix_space = member_or(step, "add_prefix_space", true, place);
      model.split_words = member_or(step, "use_regex", true, place);
    }
  });
  if (place_in_order != 3) refuse_part("pre_tokenizer", value, where, kByteLevel);
}

std::vector<DecoderStep> read_decoder_steps(const json& value, const std::string& where) {
  std::vector<DecoderStep> steps;
  for_each_step(value, "decoders", where, [&](const json& step, const std::string& place) {
    steps.push_back(read_decoder_step(step, place));
  });
  return steps;
}

}  // namespace blip2
