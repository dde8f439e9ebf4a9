#pragma once

#include <array>
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
  /// Writes one snapshot, on the writer thread; what it throws becomes the outcome's error.
  using Write = std::function<void(int64_t step, std::span<const std::byte> content)>;

  /// `memory` outlives this.
  SnapshotWriter(SnapshotMemory& memory, std::vector<CopyPiece> pieces, Write write);
  /// Waits for both threads; a write that has begun is finished, others are not begun.
  ~SnapshotWriter();
  SnapshotWriter(const SnapshotWriter&) = delete;
  SnapshotWriter& operator=(const SnapshotWriter&) = delete;

  /// Starts to copy the state after `step`. With `write` the copy is then written and its buffer kept until release().
  /// Returns false, and does nothing, where both buffers are kept.
  bool snapshot(int64_t step, int64_t consumed_samples, bool write);
  /// Until the running copy has read all live memory: before anything changes that. Returns the seconds waited.
  double wait_copied();

  struct Outcome {
    int64_t step = 0;
    std::string error;  ///< empty: written
  };
  /// How the oldest write that is not released ended; nothing while it goes on.
  [[nodiscard]] std::optional<Outcome> finished() const;
  /// Gives the buffer of the oldest write, which has ended, back to further snapshots.
  void release(int64_t step);

 private:
  enum class Use { free, copying, waiting, writing, written };
  struct Buffer {
    Use use = Use::free;
    bool write = false;
    int64_t step = -1;
    int64_t consumed_samples = 0;
    uint64_t turn = 0;  ///< grows with every snapshot
    std::string error;
  };

  void copy_loop();
  void write_loop();
  [[nodiscard]] int free_buffer() const;
  /// The buffer in that use whose turn was first, -1 where there is none.
  [[nodiscard]] int oldest(Use use) const;
  void copy(int index);
  [[nodiscard]] std::string write(int64_t step, int index) const;

  SnapshotMemory& memory_;
  std::vector<CopyPiece> pieces_;
  Write write_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::array<Buffer, SnapshotMemory::kBuffers> buffers_;
  uint64_t turns_ = 0;
  bool ending_ = false;
  std::thread copier_, writer_;  // last: they use what is above
};

}  // namespace trident
