#include "blip2/text/unigram_internal.h"

#include <algorithm>
#include <limits>

#include "blip2/base/error.h"
#include "blip2/text/unicode.h"

namespace blip2 {
namespace {

constexpr std::uint64_t kFree = ~std::uint64_t{0};
constexpr double kUnknownPenalty = 10.0;  // below the least likely token, as SentencePiece has it

std::uint64_t edge_of(std::int32_t node, unsigned char byte) {
  return static_cast<std::uint64_t>(node) << 8 | byte;
}

}  // namespace

UnigramEncoder::UnigramEncoder(const UnigramModel& model, std::span<const std::string> pieces)
    : model_(model), branches_(1024, Branch{kFree, 0}), tokens_{-1} {
  if (model.unknown && static_cast<std::size_t>(*model.unknown) >= pieces.size()) {
    throw Error("unk_id is " + std::to_string(*model.unknown) + " but there are " +
                std::to_string(pieces.size()) + " tokens");
  }
  double lowest = std::numeric_limits<double>::infinity();
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    lowest = std::min(lowest, model.scores[i]);
    if (pieces[i].empty()) continue;
    words_.emplace(pieces[i], static_cast<std::int32_t>(i));
    insert(pieces[i], static_cast<std::int32_t>(i));
  }
  unknown_score_ = lowest - kUnknownPenalty;
}

std::size_t UnigramEncoder::slot_of(std::uint64_t edge) const {
  const std::size_t mask = branches_.size() - 1;
  auto slot = static_cast<std::size_t>(edge * 0x9e3779b97f4a7c15u >> 24) & mask;
  while (branches_[slot].edge != kFree && branches_[slot].edge != edge) slot = (slot + 1) & mask;
  return slot;
}

std::int32_t UnigramEncoder::child(std::int32_t node, unsigned char byte) const {
  const Branch& branch = branches_[slot_of(edge_of(node, byte))];
  return branch.edge == kFree ? -1 : branch.node;
}

void UnigramEncoder::grow() {
  std::vector<Branch> old(branches_.size() * 2, Branch{kFree, 0});
  old.swap(branches_);
  for (const Branch& branch : old) {
    if (branch.edge != kFree) branches_[slot_of(branch.edge)] = branch;
  }
}

void UnigramEncoder::insert(std::string_view token, std::int32_t id) {
  std::int32_t node = 0;
  for (const char c : token) {
    const std::uint64_t edge = edge_of(node, static_cast<unsigned char>(c));
    if (tokens_.size() * 2 > branches_.size()) grow();
    Branch& branch = branches_[slot_of(edge)];
    if (branch.edge == kFree) {
      branch = {edge, static_cast<std::int32_t>(tokens_.size())};
      tokens_.push_back(-1);
    }
    node = branch.node;
  }
  tokens_[static_cast<std::size_t>(node)] = id;
}

std::vector<UnigramEncoder::Node> UnigramEncoder::lattice(std::string_view part) const {
  std::vector<Node> best(part.size() + 1);
  const auto offer = [&](std::size_t start, std::size_t end, double score, std::int32_t id) {
    Node& node = best[end];
    const double total = score + best[start].score;
    if (node.start < 0 || total > node.score) node = {total, id, static_cast<std::int32_t>(start)};
  };
  for (std::size_t start = 0; start < part.size();) {
    const std::size_t character = decode_utf8(part.substr(start)).bytes;
    bool alone = false;  // the character is a token
    std::int32_t at = 0;
    for (std::size_t end = start; end < part.size();) {
      at = child(at, static_cast<unsigned char>(part[end++]));
      if (at < 0) break;
      const std::int32_t id = tokens_[static_cast<std::size_t>(at)];
      if (id < 0) continue;
      offer(start, end, model_.scores[static_cast<std::size_t>(id)], id);
      alone = alone || end == start + character;
    }
    if (!alone) offer(start, start + character, unknown_score_, model_.unknown.value_or(-1));
    start += character;
  }
  return best;
}

void UnigramEncoder::add_token(std::string_view token, std::vector<std::int32_t>& ids) const {
  if (const auto id = find_id(words_, token)) return ids.push_back(*id);
  if (model_.byte_fallback) {
    std::vector<std::int32_t> bytes;
    for (const char c : token) {
      if (const auto id = find_id(words_, fallback_token(static_cast<unsigned char>(c)))) {
        bytes.push_back(*id);
      }
    }
    if (bytes.size() == token.size()) {
      ids.insert(ids.end(), bytes.begin(), bytes.end());
      return;
    }
  }
  if (!model_.unknown) {
    throw Error("\"" + std::string(token.substr(0, 80)) +
                "\" has no token and the tokenizer has no unknown token");
  }
  ids.push_back(*model_.unknown);
}

void UnigramEncoder::encode_part(std::string_view part, std::vector<std::int32_t>& ids) const {
  const std::vector<Node> best = lattice(part);
  std::vector<std::string_view> tokens;  // from the last
  bool after_unknown = false;
  for (std::size_t end = part.size(); end > 0;) {
    const Node& node = best[end];
    const auto start = static_cast<std::size_t>(node.start);
    const bool unknown = model_.unknown && node.id == *model_.unknown;
    if (unknown && after_unknown) {
      tokens.back() = part.substr(start, tokens.back().size() + end - start);
    } else {
      tokens.push_back(part.substr(start, end - start));
    }
    after_unknown = unknown;
    end = start;
  }
  for (auto token = tokens.rbegin(); token != tokens.rend(); ++token) add_token(*token, ids);
}

void UnigramEncoder::encode(std::string_view text, bool at_start,
                            std::vector<std::int32_t>& ids) const {
  for (const std::string& part : split_spaces(model_.spaces, text, at_start)) {
    encode_part(part, ids);
  }
}

}  // namespace blip2
