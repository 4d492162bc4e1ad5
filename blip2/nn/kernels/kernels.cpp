#include "blip2/nn/kernels/kernels.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <string_view>
#include <vector>

#include "blip2/base/error.h"
#include "blip2/base/processor.h"
#include "blip2/nn/kernels/tables_internal.h"

namespace blip2 {
namespace {

constexpr std::string_view kNames[] = {"plain", "avx2", "avx512", "avx512-bf16", "amx"};

const KernelSet& chosen() {
  static const KernelSet set = [] {
    const char* most = std::getenv("BLIP2_KERNELS");
    return choose_kernels(runnable_kernels(), most ? most : "");
  }();
  return set;
}

const BlockKernelSet& chosen_blocks() {
  static const BlockKernelSet set = choose_block_kernels(runnable_block_kernels(), kernels_name());
  return set;
}

}  // namespace

std::vector<KernelSet> runnable_kernels() {
  std::vector<KernelSet> sets{plain_kernels()};
#if defined(__x86_64__)
  if (processor().avx2) sets.push_back(avx2_kernels());
  if (processor().avx512) sets.push_back(avx512_kernels());
  if (processor().avx512_bf16) sets.push_back(avx512_bf16_kernels());
  if (processor().amx_bf16) sets.push_back(amx_kernels());
#endif
  return sets;
}

std::vector<BlockKernelSet> runnable_block_kernels() {
  std::vector<BlockKernelSet> sets{plain_block_kernels()};
#if defined(__x86_64__)
  if (processor().avx2) sets.push_back(avx2_block_kernels());
  if (processor().avx512) sets.push_back(avx512_block_kernels());
  if (processor().avx512_vnni) sets.push_back(avx512_vnni_block_kernels());
  if (processor().amx_int8) sets.push_back(amx_block_kernels());
#endif
  return sets;
}

BlockKernelSet choose_block_kernels(const std::vector<BlockKernelSet>& sets, const char* kernels) {
  const std::string_view most = kernels;
  if (most == "plain") return sets.front();
  if (most == "avx2") return sets[std::min<std::size_t>(1, sets.size() - 1)];
  const bool too_much = most != "amx" && sets.back().name == std::string_view("amx");
  return sets[sets.size() - (too_much ? 2 : 1)];
}

KernelSet choose_kernels(const std::vector<KernelSet>& sets, const char* most) {
  if (*most == '\0') return sets.back();
  const auto named = std::find(std::begin(kNames), std::end(kNames), most);
  if (named == std::end(kNames)) {
    throw Error(fmt::format("expected {}, got {}", fmt::join(kNames, ", "), most),
                "environment variable BLIP2_KERNELS");
  }
  const auto wanted = static_cast<std::size_t>(named - std::begin(kNames));
  return sets[std::min(wanted, sets.size() - 1)];
}

template <>
const Kernels<float>& kernels<float>() {
  return *chosen().f32;
}

template <>
const Kernels<Bf16>& kernels<Bf16>() {
  return *chosen().bf16;
}

template <>
const Kernels<F16>& kernels<F16>() {
  return *chosen().f16;
}

const char* kernels_name() {
  return chosen().name;
}

template <>
const BlockKernels<float>& block_kernels<float>() {
  return *chosen_blocks().f32;
}

template <>
const BlockKernels<Bf16>& block_kernels<Bf16>() {
  return *chosen_blocks().bf16;
}

template <>
const BlockKernels<F16>& block_kernels<F16>() {
  return *chosen_blocks().f16;
}

namespace {

// Whole vectors of the widest registers.
std::int64_t padded(std::int64_t count) {
  return (count + 15) / 16 * 16;
}

}  // namespace

std::int64_t token_attention_scratch(std::int64_t keys, std::int64_t head_dim) {
  return padded(keys) + padded(head_dim);
}

std::int64_t attention_scratch(const AttentionShape& shape) {
  const std::int64_t keys = padded(shape.start + shape.queries), dim = padded(shape.head_dim);
  const std::int64_t rows = attention_tokens(shape) * shape.group;
  return 6 * keys * dim + 3 * rows * dim + 2 * rows * keys;
}

// About fifty rows of queries: few of the keys that a block is multiplied with are hidden from any.
std::int64_t attention_tokens(const AttentionShape& shape) {
  constexpr std::int64_t rows = 48;
  return std::min(shape.queries, std::max<std::int64_t>(1, rows / shape.group));
}

}  // namespace blip2
