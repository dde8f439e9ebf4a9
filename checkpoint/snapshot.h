#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "checkpoint/file_hash.h"

namespace trident {

/// What must agree before a snapshot may be restored: otherwise it is another run's, or another layout's.
struct SnapshotIdentity {
  std::string run_id;  ///< at most 127 bytes
  int rank = 0;
  int ranks = 1;
  Hash128 layout{};  ///< of everything that decides what lies where in the buffers
};

/// Two copies of a rank's state in host memory, all of whose pages are touched beforehand. Named memory outlives the
/// process; whoever started the processes removes it. One thread fills at a time; any thread may look.
class SnapshotMemory {
 public:
  static constexpr int kBuffers = 2;

  /// `name` empty: private to this process. Otherwise POSIX shared memory of that name, which only this user may open:
  /// attached where it is there with the same identity and size, made anew where it is not or differs. Throws
  /// Error(io), saying how much room shared memory has, where it does not fit.
  SnapshotMemory(const std::string& name, const SnapshotIdentity& identity, int64_t bytes);
  ~SnapshotMemory();
  SnapshotMemory(const SnapshotMemory&) = delete;
  SnapshotMemory& operator=(const SnapshotMemory&) = delete;

  /// Whether the memory was there before, with what an earlier process left in it.
  [[nodiscard]] bool attached() const { return attached_; }
  /// The size of each buffer.
  [[nodiscard]] int64_t bytes() const { return bytes_; }

  /// The step whose state buffer `index` holds whole; nothing while it is being filled and after a fill that was cut
  /// off.
  [[nodiscard]] std::optional<int64_t> step(int index) const;
  /// Whether such a buffer holds what was there when it was filled. Reads all of it.
  [[nodiscard]] bool intact(int index) const;
  /// The trainer's count beside that state.
  [[nodiscard]] int64_t consumed_samples(int index) const;
  [[nodiscard]] std::span<const std::byte> content(int index) const;

  /// Marks the buffer as being filled (odd sequence number) and gives its memory.
  [[nodiscard]] std::span<std::byte> begin_fill(int index);
  /// Marks it as whole, with a hash of what it holds. Step and count are at least 0.
  void end_fill(int index, int64_t step, int64_t consumed_samples);

  /// Empties a buffer, or both: training starts from elsewhere, and what they hold is of a past that it does not share.
  void clear(int index);
  void clear();

  /// Removes a named segment from the system; no failure where there is none.
  static void remove(const std::string& name);

 private:
  struct Header;
  [[nodiscard]] Header& header() const;
  [[nodiscard]] std::byte* buffer(int index) const;
  void map_private();
  void map_named(const std::string& name, const SnapshotIdentity& identity);

  int64_t bytes_ = 0;
  std::byte* memory_ = nullptr;
  size_t mapped_ = 0;
  bool attached_ = false;
};

}  // namespace trident
