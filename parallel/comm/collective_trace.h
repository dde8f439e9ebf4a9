#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>
#include <string>

#include "parallel/comm/element.h"
#include "parallel/comm/progress.h"

namespace trident {

/// What all ranks of a group must agree on in one collective call.
struct CallSignature {
  CollectiveOp op = CollectiveOp::barrier;
  Element element = Element::fp64;
  ReduceOp reduce = ReduceOp::sum;
  int root = 0;
  int64_t count = 0;  ///< elements, in the sense of the call

  bool operator==(const CallSignature&) const = default;
  [[nodiscard]] uint64_t packed() const;
  static CallSignature unpacked(uint64_t packed, int64_t count);
  /// `all_reduce(sum) 1024 fp32`
  [[nodiscard]] std::string to_string() const;
};

/// The last collective calls that a rank made in a group, with a running hash over all it ever made. Lies in memory
/// that the group's ranks share: one writes, all may read at any time.
class CollectiveTrace {
 public:
  static constexpr uint64_t kDepth = 32;

  /// The call with number `sequence` (from 1).
  void record(uint64_t sequence, const CallSignature& signature);

  [[nodiscard]] uint64_t last() const { return last_.load(std::memory_order_acquire); }
  /// The call, if the trace still (or already) holds it.
  [[nodiscard]] std::optional<CallSignature> at(uint64_t sequence) const;
  /// Hash over all calls up to `sequence`, which must be one that the trace holds.
  [[nodiscard]] uint64_t hash(uint64_t sequence) const;
  /// One line a call, oldest first, the last `lines` of them.
  [[nodiscard]] std::string to_string(uint64_t lines = kDepth) const;

 private:
  struct Entry {
    std::atomic<uint64_t> signature;
    std::atomic<int64_t> count;
    std::atomic<uint64_t> hash;
  };
  std::array<Entry, kDepth> entries_;
  std::atomic<uint64_t> last_;
};

}  // namespace trident
