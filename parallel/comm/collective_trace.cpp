#include "parallel/comm/collective_trace.h"

#include <fmt/format.h>

#include <algorithm>

namespace trident {
namespace {

/// One round of a 64-bit mixer (the finaliser of SplitMix64).
uint64_t mix(uint64_t value) {
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
  return value ^ (value >> 31);
}

}  // namespace

uint64_t CallSignature::packed() const {
  return static_cast<uint64_t>(op) | static_cast<uint64_t>(element) << 8 | static_cast<uint64_t>(reduce) << 16 |
         static_cast<uint64_t>(root) << 32;
}

CallSignature CallSignature::unpacked(uint64_t packed, int64_t count) {
  return {static_cast<CollectiveOp>(packed & 0xff), static_cast<Element>(packed >> 8 & 0xff),
          static_cast<ReduceOp>(packed >> 16 & 0xff), static_cast<int>(packed >> 32), count};
}

std::string CallSignature::to_string() const {
  std::string text(trident::to_string(op));
  if (op == CollectiveOp::barrier) return text;
  if (op == CollectiveOp::all_reduce || op == CollectiveOp::reduce_scatter) {
    text += reduce == ReduceOp::sum ? "(sum)" : "(max)";
  }
  if (op == CollectiveOp::broadcast) text += fmt::format("(root {})", root);
  if (op == CollectiveOp::all_to_all && count < 0) return text + fmt::format(" {}", trident::to_string(element));
  return text + fmt::format(" {} {}", count, trident::to_string(element));
}

void CollectiveTrace::record(uint64_t sequence, const CallSignature& signature) {
  Entry& entry = entries_[sequence % kDepth];
  const uint64_t before =
      sequence > 1 ? entries_[(sequence - 1) % kDepth].hash.load(std::memory_order_relaxed) : uint64_t{0};
  entry.signature.store(signature.packed(), std::memory_order_relaxed);
  entry.count.store(signature.count, std::memory_order_relaxed);
  entry.hash.store(mix(before ^ mix(signature.packed() + mix(static_cast<uint64_t>(signature.count) + sequence))),
                   std::memory_order_relaxed);
  last_.store(sequence, std::memory_order_release);
}

std::optional<CallSignature> CollectiveTrace::at(uint64_t sequence) const {
  const uint64_t newest = last();
  if (sequence == 0 || sequence > newest || newest - sequence >= kDepth) return std::nullopt;
  const Entry& entry = entries_[sequence % kDepth];
  return CallSignature::unpacked(entry.signature.load(std::memory_order_relaxed),
                                 entry.count.load(std::memory_order_relaxed));
}

uint64_t CollectiveTrace::hash(uint64_t sequence) const {
  return entries_[sequence % kDepth].hash.load(std::memory_order_relaxed);
}

std::string CollectiveTrace::to_string(uint64_t lines) const {
  const uint64_t newest = last();
  const uint64_t shown = std::min({newest, lines, kDepth});
  std::string text;
  for (uint64_t sequence = newest - shown + 1; sequence <= newest; ++sequence) {
    const auto call = at(sequence);
    if (call) text += fmt::format("\n    #{} {}", sequence, call->to_string());
  }
  return text.empty() ? "\n    (no collective calls)" : text;
}

}  // namespace trident
