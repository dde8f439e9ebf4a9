#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace trident {

enum class CollectiveOp : uint8_t {
  all_reduce,
  reduce_scatter,
  all_gather,
  broadcast,
  all_to_all,
  barrier,
  send,
  recv,
};

[[nodiscard]] constexpr std::string_view to_string(CollectiveOp op) {
  constexpr std::string_view names[] = {"all_reduce", "reduce_scatter", "all_gather", "broadcast",
                                        "all_to_all", "barrier",        "send",       "recv"};
  return names[static_cast<size_t>(op)];
}

/// One collective call of one rank. `sequence` counts the group's collective calls from 1; send and recv have 0, and
/// `peer`, the other's rank in the group.
struct ProgressRecord {
  std::string_view group;
  uint64_t sequence = 0;
  CollectiveOp op = CollectiveOp::barrier;
  int64_t bytes = 0;
  int peer = -1;
};

/// Told of every operation by the rank's own thread, from inside the call: must be quick and must not communicate.
/// `left` gets the same object as `entered`: its address tells operations of one group apart.
class ProgressSink {
 public:
  virtual ~ProgressSink() = default;
  virtual void entered(const ProgressRecord& record) = 0;
  virtual void left(const ProgressRecord& record) = 0;
  /// The rank stands still until the operation is done; and goes on.
  virtual void waits(const ProgressRecord& record) { (void)record; }
  virtual void waited(const ProgressRecord& record) { (void)record; }
};

}  // namespace trident
