#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "checkpoint/snapshot.h"

namespace trident {

/// A piece of state to copy: from live memory to its place in a snapshot.
struct CopyPiece {
  const std::byte* from = nullptr;
  int64_t bytes = 0;
  int64_t to = 0;  ///< byte in the buffer
};

/// Copies a rank's state into its snapshot memory while the next step runs, and lets one thread write chosen snapshots
/// to disk. Neither thread communicates. Called by the training thread.
class SnapshotWriter {
 public:
  /// Writes one snapshot, on the writer thread; what it throws is reported by finished().
  using Write = std::function<void(int64_t step, std::span<const std::byte> content)>;

  SnapshotWriter(SnapshotMemory& memory, std::vector<CopyPiece> pieces, Write write);
  /// Waits for both threads; a write that has begun is finished.
  ~SnapshotWriter();

  /// Starts to copy the state after `step`. With `write` the copy is then written and its buffer kept until release().
  /// Returns false where no buffer is free for it: both are kept for writing.
  bool snapshot(int64_t step, int64_t consumed_samples, bool write);
  /// Until the running copy has read all live memory. Before anything changes it. Returns the seconds waited.
  double wait_copied();
  /// Seconds until a buffer is free again, waiting up to `limit`.
  /// The oldest write that has ended, with the text of its error if it failed; nothing while it goes on.
  struct Outcome {
    int64_t step = 0;
    std::string error;   ///< empty: written
    double seconds = 0;
  };
  [[nodiscard]] std::optional<Outcome> finished();
  /// Gives the buffer of the outcome that finished() reported back to further snapshots.
  void release(int64_t step);
  /// Snapshots handed to the writer and not yet released, oldest first.
  [[nodiscard]] std::vector<int64_t> pending() const;
  /// Until the oldest pending write has ended.
  void wait_finished();
};

}  // namespace trident
