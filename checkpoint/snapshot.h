#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "checkpoint/snapshot_view.h"

namespace trident {

/// A rank's own snapshots: copies of its state in host memory, all of whose pages are touched beforehand. Named memory
/// outlives the process; whoever started the processes removes it. One thread fills at a time; any thread may look.
class SnapshotMemory : public SnapshotView {
 public:
  /// Of memory that a restart goes on from: while one is written to disk, however long that takes, one of the others
  /// is whole at any time.
  static constexpr int kBuffers = 3;
  /// Of memory whose states are copied to another node's memory too: besides, one that has been, and one that is.
  static constexpr int kCopiedBuffers = 4;
  /// Of memory that ends with its process: one is written, one is filled.
  static constexpr int kPrivateBuffers = 2;
  /// Of a copy in another node's memory: one is whole while the other is filled.
  static constexpr int kCopyBuffers = 2;

  /// `name` empty: private to this process. Otherwise POSIX shared memory of that name, which only this user may open:
  /// attached where it is there with the same identity and size, made anew where it is not or differs. Throws
  /// Error(io), saying how much room shared memory has, where it does not fit.
  SnapshotMemory(const std::string& name, const SnapshotIdentity& identity, int64_t bytes,
                 int buffers = kPrivateBuffers);

  /// Whether the memory was there before, with what an earlier process left in it.
  [[nodiscard]] bool attached() const { return attached_; }

  /// Marks the buffer as being filled (odd sequence number) and gives its memory.
  [[nodiscard]] std::span<std::byte> begin_fill(int index);
  /// Marks it as whole. Step and count are at least 0; `hashes` are of the blocks of what it holds now.
  void end_fill(int index, const SnapshotSeal& seal, const BlockHashes& hashes);

  /// Removes a named segment from the system; no failure where there is none.
  static void remove(const std::string& name);

 private:
  [[nodiscard]] static std::byte* map_private(const Shape& shape);
  void map_named(const std::string& name, const SnapshotIdentity& identity);

  bool attached_ = false;
};

}  // namespace trident
