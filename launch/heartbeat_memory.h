#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "launch/heartbeat_record.h"

namespace trident {

struct HeartbeatSlot;

/// The heartbeats of a node's ranks, in POSIX shared memory that this user alone may open. Whoever creates it owns the
/// name and removes it; it is mapped as long as the object lives.
class HeartbeatMemory {
 public:
  /// A new segment; one of that name that is there is removed. Throws Error(io).
  static HeartbeatMemory create(const std::string& name, int slots, int64_t epoch);
  /// The segment that an agent made. Throws Error(io) where it is not there, is another user's, or of another format.
  static HeartbeatMemory attach(const std::string& name);
  static void remove(const std::string& name);

  HeartbeatMemory(HeartbeatMemory&& other) noexcept;
  HeartbeatMemory& operator=(HeartbeatMemory&&) = delete;
  ~HeartbeatMemory();

  [[nodiscard]] int slots() const;
  [[nodiscard]] int64_t epoch() const;
  [[nodiscard]] HeartbeatSlot& slot(int index) const;
  /// What the rank of a slot says, all of one moment; of a rank that died while it wrote, as far as it came.
  [[nodiscard]] RankRecord read(int index) const;
  /// Until when, by the steady clock, the ranks may leave behind what others would read.
  void extend_lease(int64_t steady_ns);
  [[nodiscard]] int64_t lease() const;
  /// Cheaper: only whether it has said anything new.
  [[nodiscard]] uint64_t beats(int index) const;

 private:
  struct Header;
  HeartbeatMemory(void* memory, size_t bytes) : memory_(memory), bytes_(bytes) {}
  [[nodiscard]] Header& header() const;

  void* memory_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace trident
