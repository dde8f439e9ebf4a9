#pragma once

#include <deque>
#include <filesystem>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/checkpoint_root.h"
#include "checkpoint/snapshot_writer.h"
#include "train/save_report.h"
#include "train/saved_state.h"

namespace trident {

struct CheckpointerOptions {
  std::filesystem::path root;    ///< <run>/checkpoints
  std::string memory;            ///< name of the snapshots' shared memory; empty: this process's own
  std::string attempt;           ///< unique to this start of the run; names what is not finished
  int64_t keep = 3;              ///< newest checkpoints kept, 0: all
  int64_t keep_every_steps = 0;  ///< of older ones, those whose step is a multiple are kept; 0: none
  Manifest manifest;             ///< what is the same for all checkpoints of this start
  std::vector<Attachment> attachments;
  FileSystem* files = &posix_file_system();
};

/// What outlived the processes.
struct MemoryContent {
  std::optional<int64_t> newest{};  ///< step that all ranks have whole
  std::vector<int> damaged{};       ///< ranks with a snapshot that is not what was copied
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

  /// Starts to save the state after `step`, of which `samples` were consumed. False, and nothing done, while two saves
  /// are under way: storage does not keep up.
  bool save(int64_t step, int64_t samples);
  /// Snapshots outlive this process: they have a name, and shared memory has room for them.
  [[nodiscard]] bool snapshots_last() const { return lasting_; }
  /// Starts to copy the state to memory only, where that outlives the process.
  void snapshot(int64_t step, int64_t samples);
  /// Before anything changes the state. Returns the seconds waited.
  double wait_copied() { return writer_.wait_copied(); }
  /// What has ended since the last call. A small collective over the world while a save is under way. Throws
  /// Error(internal) on every rank, naming tensor and ranks, if copies of a tensor that must be equal are not: memory
  /// or hardware has corrupted one of them, and no checkpoint of it is made.
  std::vector<SaveOutcome> poll();
  /// The same, until the oldest save has ended, or all have.
  std::vector<SaveOutcome> finish_one();
  std::vector<SaveOutcome> finish();
  [[nodiscard]] bool busy() const { return !saves_.empty(); }
  /// save() would do nothing.
  [[nodiscard]] bool full() const { return saves_.size() >= SnapshotMemory::kBuffers; }

  /// Reads all of it; restore() makes a step the live state and returns the consumed samples. Collective.
  [[nodiscard]] MemoryContent look_at_memory() const;
  int64_t restore(int64_t step) const;
  /// Whether the live state is what the snapshot of this step holds; true where there is none. After wait_copied().
  [[nodiscard]] bool is_as_copied(int64_t step) const;
  /// This rank's newest whole snapshot, for tests that damage it; empty where there is none. After wait_copied().
  [[nodiscard]] std::span<std::byte> newest_snapshot();
  /// Empties the memory: the run goes on from elsewhere.
  void forget_memory() { forget_newer(-1); }
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

  [[nodiscard]] std::unique_ptr<SnapshotMemory> make_memory();
  [[nodiscard]] std::filesystem::path temporary(int64_t step) const;
  void open_root();
  void exchange_segments();
  void write(int64_t step, std::span<const std::byte> content);
  [[nodiscard]] SaveReport own_report(const SnapshotWriter::Outcome& outcome);
  void gather_reports(const Save& save);
  [[nodiscard]] CommitResult commit(const Save& save, std::vector<SaveReport> reports);
  [[nodiscard]] std::optional<SaveOutcome> end_commit();

  Communicator world_;
  MeshCoordinates at_;
  CheckpointerOptions options_;
  CheckpointRoot root_;
  SavedState state_;
  bool lasting_ = false;
  std::vector<Segment> segments_;
  std::vector<RankFile> rank_files_;  // on rank 0: what does not change from save to save
  std::optional<WriterLease> lease_;  // on rank 0
  std::deque<Save> saves_;
  std::optional<SnapshotWriter::Outcome> ended_write_;  // of the oldest save, until all ranks have ended theirs
  std::future<CommitResult> committing_;                // on rank 0
  int64_t verified_ = -1;
  std::mutex mutex_;
  std::map<int64_t, SaveReport> written_;  // by the writer thread, by step
  std::unique_ptr<SnapshotMemory> memory_;
  SnapshotWriter writer_;  // last: its threads use what is above
};

}  // namespace trident
