#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "parallel/comm/abort_board.h"
#include "parallel/comm/backend.h"
#include "parallel/comm/collective_trace.h"

namespace trident {

/// How ranks name memory to one another. Words of 64 bits, because that is what fits into an atomic.
class AddressSpace {
 public:
  static constexpr uint64_t kPrivate = 0;  ///< the other ranks cannot reach it

  virtual ~AddressSpace() = default;
  /// A word under which the other ranks reach [data, data + bytes), or kPrivate. The upper 16 bits name the piece of
  /// shared memory, the same on all ranks.
  [[nodiscard]] virtual uint64_t publish(const std::byte* data, size_t bytes) const = 0;
  /// Where this rank sees what `peer` published.
  [[nodiscard]] virtual std::byte* resolve(uint64_t word, int peer) const = 0;
};

/// What one rank shows to the others of its group.
struct alignas(64) SharedSlot {
  std::atomic<uint64_t> phase;  ///< steps that the rank has made, over all operations
  /// Where its buffer is, for the current operation and the one before: a rank is at most one ahead.
  std::atomic<uint64_t> address[2];
  CollectiveTrace trace;
};

/// Collectives among ranks that share memory, whether they are threads or processes. One rank's end.
///
/// All ranks make the same steps; `phase` counts them, and a step starts when every rank has made the one before. So
/// one counter per rank is all the synchronisation there is. Buffers that the others can reach are read and written in
/// place; others go through staging memory in chunks. Each rank reduces its own slice over all ranks' buffers, in rank
/// order.
class SharedGroup {
 public:
  /// Up to this size an operation goes through staging memory even if its buffers are shared: one step is saved.
  static constexpr size_t kInlineBytes = size_t{16} << 10;
  static constexpr int kStages = 3;  ///< one chunk comes in, one is worked on, one goes out

  struct Memory {
    SharedSlot* slots = nullptr;             ///< one per rank
    std::atomic<int64_t>* counts = nullptr;  ///< [rank][2][2 * size]: offsets and counts of an all_to_all
    std::vector<std::byte*> stages;          ///< per rank: kStages chunks
    size_t chunk_bytes = 0;                  ///< at least kInlineBytes
    AbortBoard* board = nullptr;
    const AddressSpace* space = nullptr;
  };
  /// Bytes of slots and counts, which one rank constructs with construct() before the others look.
  [[nodiscard]] static size_t control_bytes(int size);
  static void construct(std::byte* control, int size);
  static void attach(std::byte* control, int size, Memory& memory);

  /// `names[r]` says who rank r is, in errors.
  SharedGroup(int rank, std::vector<std::string> names, Memory memory);

  void announce(uint64_t sequence, const CallSignature& signature);
  std::unique_ptr<Operation> start(const CollectiveCall& call);
  /// The group's name, for errors; with `compare_history` calls are compared by the hash of all calls so far.
  void configure(std::string name, bool compare_history) {
    group_ = std::move(name);
    trace_ = compare_history;
  }
  void throw_if_given_up() const;
  void give_up(const std::string& reason) { memory_.board->post(names_[static_cast<size_t>(rank_)] + ": " + reason); }
  [[nodiscard]] int rank() const { return rank_; }
  [[nodiscard]] int size() const { return size_; }

 private:
  friend class SharedOperation;

  [[nodiscard]] SharedSlot& slot(int rank) const { return memory_.slots[rank]; }
  [[nodiscard]] std::byte* stage(int rank, uint64_t chunk) const {
    return memory_.stages[static_cast<size_t>(rank)] + (chunk % kStages) * memory_.chunk_bytes;
  }
  [[nodiscard]] std::atomic<int64_t>* counts(int rank, uint64_t number) const {
    return memory_.counts + (static_cast<int64_t>(rank) * 2 + static_cast<int64_t>(number % 2)) * 2 * size_;
  }
  uint64_t signal();
  [[nodiscard]] bool everyone_reached(uint64_t phase) const;
  void compare_calls(uint64_t sequence) const;
  [[nodiscard]] std::string missing(uint64_t phase, uint64_t sequence) const;

  int rank_;
  int size_;
  std::string group_;
  std::vector<std::string> names_;
  Memory memory_;
  uint64_t phase_ = 0;
  uint64_t next_chunk_ = 0;
  uint64_t started_ = 0;  // operations
  bool trace_ = false;
};

}  // namespace trident
