#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "launch/heartbeat_record.h"

// How a rank's place in the shared memory lies: for its writer (heartbeat.cpp) and its reader (heartbeat_memory.cpp).

namespace trident {

/// How many groups a rank tells of.
constexpr size_t kHeartbeatGroups = 24;

// ---- a value that one thread of one process writes and others read

template <class T>
using Cell = std::atomic<T>;

// One thread of one process writes; plain stores are enough.
// Whoever sees a value that was put sees all that was put before it, the odd version of an unfinished update too: so a
// reader that finds the version unchanged has read nothing newer (Boehm, "Can seqlocks get along with programming
// language memory models?", 2012).
template <class T>
void put(Cell<T>& cell, T value) {
  cell.store(value, std::memory_order_release);
}

template <class T>
T get(const Cell<T>& cell) {
  return cell.load(std::memory_order_acquire);
}

template <class T>
void increase(Cell<T>& cell) {
  put(cell, static_cast<T>(get(cell) + 1));
}

template <size_t N>
void put_text(std::array<Cell<uint64_t>, N>& cells, std::string_view text) {
  for (size_t i = 0; i < N; ++i) {
    uint64_t word = 0;
    for (size_t byte = 0; byte < 8 && i * 8 + byte < text.size(); ++byte)
      word |= uint64_t{static_cast<unsigned char>(text[i * 8 + byte])} << (8 * byte);
    put(cells[i], word);
  }
}

template <size_t N>
std::string get_text(const std::array<Cell<uint64_t>, N>& cells) {
  std::string text;
  for (const auto& cell : cells) {
    const uint64_t word = get(cell);
    for (size_t byte = 0; byte < 8; ++byte) {
      const char c = static_cast<char>(word >> (8 * byte) & 0xFFU);
      if (c == '\0') return text;
      text += c;
    }
  }
  return text;
}

// ---- a pipeline action in one word; 0: none

inline uint64_t pack(const pipeline::Action& action) {
  return uint64_t{1} << 63 | uint64_t{static_cast<uint8_t>(action.op)} << 52 |
         (static_cast<uint64_t>(action.stage) & 0xFFFFFU) << 32 | static_cast<uint32_t>(action.microbatch);
}

inline std::optional<pipeline::Action> unpack(uint64_t word) {
  if (word == 0) return std::nullopt;
  return pipeline::Action{static_cast<int32_t>(word >> 32 & 0xFFFFFU), static_cast<pipeline::Op>(word >> 52 & 0xFU),
                          static_cast<int32_t>(static_cast<uint32_t>(word))};
}

// ---- one rank's place

struct alignas(64) GroupCells {
  std::array<Cell<uint64_t>, 2> name;
  Cell<int32_t> peer;
  Cell<uint32_t> op;
  Cell<uint64_t> entered;
  Cell<uint64_t> left;
  Cell<int64_t> bytes;
};
static_assert(sizeof(GroupCells) == 64);

struct PhaseCells {
  std::array<Cell<uint32_t>, DurationCounts::kBuckets> counts;
};

/// Only atomics that need no lock: a lock would be private to the process. Memory starts as zeros, which is what their
/// constructors would make.
struct alignas(128) HeartbeatSlot {
  // What changes many times a step lies in two cache lines of its own.
  Cell<uint64_t> version;  ///< odd: being written
  Cell<uint64_t> beats;
  Cell<int64_t> step;
  Cell<uint64_t> action;
  Cell<uint32_t> phase;
  Cell<uint32_t> waits_in;  ///< number of a group from 1; 0: of none
  Cell<uint32_t> groups;
  alignas(64) Cell<uint32_t> state;
  Cell<int32_t> rank;
  Cell<int64_t> pid;
  Cell<int32_t> exit_code;
  Cell<int32_t> signal;
  Cell<uint32_t> blame_kind;  ///< from 1; 0: none
  Cell<int32_t> blame_rank;
  Cell<int64_t> blame_step;
  Cell<int64_t> ended_ns;
  Cell<int64_t> resumed;
  Cell<int64_t> done;
  Cell<int64_t> committed;
  Cell<uint64_t> loss_bits;
  Cell<uint64_t> busy_bits;
  std::array<GroupCells, kHeartbeatGroups> group;
  std::array<PhaseCells, kTrainPhases> phases;
  std::array<Cell<uint64_t>, 96> message;
};
static_assert(Cell<uint64_t>::is_always_lock_free && Cell<uint32_t>::is_always_lock_free);

}  // namespace trident
