#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "checkpoint/snapshot_view.h"

namespace trident {

/// What is decided when snapshot memory is made. Compared byte for byte, so that nothing in a foreign header is
/// interpreted before it is known to be sound.
struct SnapshotFacts {
  uint32_t format = 0;
  int32_t rank = 0;
  int32_t ranks = 0;
  int32_t buffers = 0;
  uint64_t layout_high = 0;
  uint64_t layout_low = 0;
  int64_t bytes = 0;
  int64_t description_bytes = 0;
  uint64_t description_high = 0;
  uint64_t description_low = 0;
  std::array<char, 128> run_id{};
};
static_assert(sizeof(SnapshotFacts) == 64 + 128, "no padding, whose bytes would be compared too");

/// Stores of a process that dies are seen by the next one in the order that these atomics impose, as by a thread.
struct SnapshotFill {
  std::atomic<uint64_t> sequence;  ///< 0: never filled; odd: being filled
  std::atomic<int64_t> step;
  std::atomic<int64_t> consumed_samples;
  std::atomic<uint64_t> gang;
  std::atomic<uint64_t> hash;  ///< of these and of the table of block hashes
};
static_assert(std::atomic<uint64_t>::is_always_lock_free && std::atomic<int64_t>::is_always_lock_free,
              "a lock would be private to the process");

struct SnapshotView::Header {
  std::atomic<uint64_t> magic;  ///< stored last
  SnapshotFacts facts;
  std::array<SnapshotFill, kMostBuffers> fills;
  std::array<std::atomic<int64_t>, kMostKept> kept;  ///< 1 + a step that is or will be on another node, too; 0: none
};

}  // namespace trident
