#pragma once

#include <deque>
#include <filesystem>
#include <functional>
#include <future>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/checkpoint_root.h"
#include "checkpoint/snapshot_writer.h"
#include "train/node_snapshots.h"
#include "train/restore_from_memory.h"
#include "train/save_report.h"
#include "train/saved_state.h"

namespace trident {

struct CheckpointerOptions {
  std::filesystem::path root;    ///< <run>/checkpoints
  std::string memory;            ///< begins the names of the snapshots' shared memory; empty: this process's own
  std::string attempt;           ///< unique to this start of the run; names what is not finished
  int64_t keep = 3;              ///< newest checkpoints kept, 0: all
  int64_t keep_every_steps = 0;  ///< of older ones, those whose step is a multiple are kept; 0: none
  Manifest manifest;             ///< what is the same for all checkpoints of this start
  std::vector<Attachment> attachments;
  FileSystem* files = &posix_file_system();
  std::function<bool()>
      may_commit;  ///< asked before a checkpoint is made visible, by a thread; empty: it always may be
};

/// How a save ended, the same on every rank.
struct SaveOutcome {
  int64_t step = 0;
  std::optional<int> rank{};  ///< that could not write
  double seconds = 0;         ///< since save()
  std::string error;          ///< empty: it is in the root, whole and durable
};

/// Saves the state of all ranks while they train on: a copy in memory, a file of every rank written by a thread of its
/// own, and, once all are on disk, the manifest and the folder's name by a thread of rank 0. No thread communicates but
/// the caller, in poll(). All ranks make the same calls.
class Checkpointer {
 public:
  /// Collective. Rank 0 takes the right to write into the root and sweeps what interrupted writers left there. `engine`
  /// has started its optimizer and outlives this. Throws Error on every rank.
  Checkpointer(const Engine& engine, CheckpointerOptions options);
  ~Checkpointer();
  Checkpointer(const Checkpointer&) = delete;
  Checkpointer& operator=(const Checkpointer&) = delete;

  [[nodiscard]] const SavedState& state() const { return state_; }

  /// Starts to save the state after `step`, of which `samples` were consumed. False, and nothing done, while as many
  /// saves are under way as there are buffers for: storage does not keep up.
  bool save(int64_t step, int64_t samples);
  /// Starts to copy the state to memory only, where that outlives the process.
  void snapshot(int64_t step, int64_t samples);
  /// Before anything changes the state. Returns the seconds waited.
  double wait_copied() { return writer_ ? writer_->wait_copied() : 0; }
  /// What has ended since the last call. A small collective over the world while a save is under way. Throws
  /// Error(internal) on every rank, naming tensor and ranks, if copies of a tensor that must be equal are not: memory
  /// or hardware has corrupted one of them, and no checkpoint of it is made.
  std::vector<SaveOutcome> poll();
  /// The same, until the oldest save has ended, or all have.
  std::vector<SaveOutcome> finish_one();
  std::vector<SaveOutcome> finish();
  [[nodiscard]] bool busy() const { return !saves_.empty(); }
  /// save() would do nothing. Where memory outlives the process two buffers go on taking the newest states by turns.
  [[nodiscard]] bool full() const {
    return std::ssize(saves_) >= (outlives_process() ? 1 : SnapshotMemory::kPrivateBuffers);
  }
  /// Whether snapshots stay when this process ends; after start().
  [[nodiscard]] bool outlives_process() const { return !options_.memory.empty(); }
  /// Of each rank's snapshot memory; on several nodes states are copied to another one's, too.
  [[nodiscard]] static int buffers(bool outlive_process, bool several_nodes) {
    if (!outlive_process) return SnapshotMemory::kPrivateBuffers;
    return several_nodes ? SnapshotMemory::kCopiedBuffers : SnapshotMemory::kBuffers;
  }
  /// With those that this rank's node keeps of another node's rank.
  [[nodiscard]] static int buffers_and_copies(bool outlive_process, bool several_nodes) {
    const bool copies = outlive_process && several_nodes;
    return buffers(outlive_process, several_nodes) + (copies ? SnapshotMemory::kCopyBuffers : 0);
  }

  /// restore_from_memory() out of what this and earlier starts left. Collective, while nobody fills a buffer.
  [[nodiscard]] std::optional<RestoredState> restore_newest(int64_t at_least, const TellDamage& damaged);
  /// Training goes on from the state after `step`. Makes or attaches this rank's memory, and forgets what earlier
  /// starts left but that state, which stays until all ranks have sealed a newer one. Done by the first save() or
  /// snapshot() at the latest. Collective.
  void start(int64_t step);
  /// Why shared memory was wanted and is not used, for lack of room: a restart then goes on from checkpoints alone.
  /// Empty: it is used. The same on every rank.
  [[nodiscard]] const std::string& without_memory() const { return without_memory_; }
  /// Whether the live state is what the snapshot of this step holds; true where there is none. After wait_copied().
  [[nodiscard]] bool is_as_copied(int64_t step) const;
  /// This rank's newest whole snapshot, for tests that damage it; empty where there is none. After wait_copied().
  [[nodiscard]] std::span<std::byte> newest_snapshot();
  /// Empties what holds later steps, in all memory of this node: training goes on from `step`. Collective.
  void forget_newer(int64_t step);
  /// A checkpoint that is known to be good: retention never deletes the newest such.
  void set_verified(int64_t step) { verified_ = step; }

 private:
  struct Save {
    int64_t step = 0;
    int64_t samples = 0;
    double started = 0;
    bool committing = false;
  };

  [[nodiscard]] std::filesystem::path temporary(int64_t step) const;
  [[nodiscard]] std::string layout_name() const;
  void open_memory(int64_t step);
  /// Whether every rank has its memory in shared memory.
  [[nodiscard]] bool share_memory(const std::string& name, const SnapshotIdentity& identity);
  void forget_earlier();
  void open_root();
  void exchange_segments();
  void write(int64_t step, std::span<const std::byte> content);
  [[nodiscard]] SaveReport own_report(const SnapshotWriter::Outcome& outcome);
  void gather_reports(const Save& save);
  [[nodiscard]] CommitResult commit(const Save& save, std::vector<SaveReport> reports);
  [[nodiscard]] std::optional<SaveOutcome> end_commit();

  Communicator world_;
  bool several_nodes_;
  MeshCoordinates at_;
  CheckpointerOptions options_;
  Stream stream_;
  CheckpointRoot root_;
  SavedState state_;
  std::vector<Segment> segments_;
  std::vector<RankFile> rank_files_;  // on rank 0: what does not change from save to save
  std::optional<WriterLease> lease_;  // on rank 0
  std::deque<Save> saves_;
  std::optional<SnapshotWriter::Outcome> ended_write_;  // of the oldest save, until all ranks have ended theirs
  std::future<CommitResult> committing_;                // on rank 0
  int64_t verified_ = -1;
  std::mutex mutex_;
  std::map<int64_t, SaveReport> written_;  // by the writer thread, by step
  std::optional<NodeSnapshots> earlier_;   // what earlier starts left
  bool others_left_ = false;               // some of it under another layout, on some rank's node
  bool filled_ = false;                    // a snapshot was begun since
  std::string layout_;                     // begins the names of the memory of all ranks under this layout
  std::string without_memory_;
  std::optional<SnapshotMemory> memory_;
  std::optional<SnapshotWriter> writer_;  // last: its threads use what is above
};

}  // namespace trident
