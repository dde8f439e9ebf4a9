#pragma once

#include <array>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "checkpoint/snapshot.h"
#include "core/device.h"

namespace trident {

/// A piece of state to copy: from live memory to its place in a snapshot.
struct CopyPiece {
  const std::byte* from = nullptr;
  int64_t bytes = 0;
  int64_t to = 0;  ///< byte in the buffer
};

/// Who copies. The training thread stands still for the whole copy; a thread of its own hides it behind the next step
/// where a core is free; where none is, the step takes longer by the same time.
enum class CopyOn { training_thread, own_thread };

/// Copies a rank's state into its snapshot memory while the next step runs, and lets one thread write chosen snapshots
/// to disk. Neither thread communicates. All members are called by the training thread:
///
///     writer.wait_copied();             // before the optimizer changes the state
///     optimizer step
///     writer.snapshot(step, …);
///     if (writer.finished()) …          // polled; when the checkpoint is committed or given up on all ranks:
///     writer.release(step);
///
/// A synchronous save is snapshot() and wait_finished().
class SnapshotWriter {
 public:
  /// Writes one snapshot, on the writer thread; what it throws is reported by finished().
  using Write = std::function<void(int64_t step, std::span<const std::byte> content)>;

  /// Memory and pieces outlive this object; pieces do not overlap. `gang` is sealed with every snapshot. Where the
  /// pieces lie on a GPU, `stream` is the one that changes them: a copy waits for what it was given before snapshot(),
  /// and runs beside what it is given later.
  SnapshotWriter(SnapshotMemory& memory, std::vector<CopyPiece> pieces, Write write,
                 CopyOn copy_on = CopyOn::own_thread, const Stream& stream = Stream::meta(), uint64_t gang = 0);
  /// Waits for both threads: a copy is finished, a write that has begun too; a write that waits is dropped.
  ~SnapshotWriter() = default;
  SnapshotWriter(const SnapshotWriter&) = delete;
  SnapshotWriter& operator=(const SnapshotWriter&) = delete;

  /// Starts to copy the state after `step`, over the oldest snapshot that is not kept. With `write` the copy is then
  /// written and its buffer kept until release(). Returns false, having changed nothing, where all buffers are kept.
  /// wait_copied() comes between two calls.
  [[nodiscard]] bool snapshot(int64_t step, int64_t consumed_samples, bool write);
  /// Until the running copy has read all live memory. Before anything changes it. Returns the seconds that the training
  /// thread stood still for this copy, in snapshot() or here.
  double wait_copied();

  struct Outcome {
    int64_t step = 0;
    std::string error{};  ///< empty: written
    double seconds = 0;
  };
  /// The oldest write that has ended and was not reported yet; nothing while it goes on.
  [[nodiscard]] std::optional<Outcome> finished();
  /// Until finished() has something to report, or for `limit`; whether it has. At once where no write is unreported.
  bool wait_finished(std::chrono::duration<double> limit = kForever);
  /// Gives the buffer of a write that finished() has reported back to further snapshots.
  void release(int64_t step);
  /// Snapshots handed to the writer and not yet released, oldest first.
  [[nodiscard]] std::vector<int64_t> pending() const;

  static constexpr auto kForever = std::chrono::duration<double>::max();

 private:
  struct Copy {
    int64_t step = 0;
    int64_t consumed_samples = 0;
    int buffer = 0;
  };
  /// A snapshot whose buffer is kept.
  struct Kept {
    int64_t step = 0;
    int buffer = 0;
    bool reported = false;
    std::optional<Outcome> outcome{};
  };

  [[nodiscard]] std::optional<int> free_buffer() const;
  [[nodiscard]] Kept* oldest_unreported();
  [[nodiscard]] Kept* next_to_write();
  void copy(const Copy& copy);
  /// Fill the buffer, and hash what it holds then.
  [[nodiscard]] BlockHashes copy_from_host(std::span<std::byte> to) const;
  [[nodiscard]] BlockHashes copy_from_device(std::span<std::byte> to) const;
  void copy_loop(const std::stop_token& stop);
  void write_loop(const std::stop_token& stop);
  [[nodiscard]] Outcome write(int64_t step, int buffer) const noexcept;

  SnapshotMemory& memory_;
  const std::vector<CopyPiece> pieces_;  ///< by place
  const Write write_;
  const CopyOn copy_on_;
  const Stream stream_, side_;  ///< of a GPU
  const uint64_t gang_;
  Event state_ready_;
  struct Pinned {
    bool tried = false;
    std::shared_ptr<void> lock{};
  };
  std::array<Pinned, SnapshotMemory::kMostBuffers> pinned_;  ///< the snapshot memory

  mutable std::mutex mutex_;  ///< of all below but the threads
  std::condition_variable_any changed_;
  std::optional<Copy> copying_;
  std::deque<Kept> kept_;

  double stood_still_ = 0;  ///< of the training thread, for the last copy
  bool awaited_ = true;     ///< wait_copied() was called since the last copy began

  // Last: they end first.
  std::jthread copier_;
  std::jthread writer_;
};

}  // namespace trident
