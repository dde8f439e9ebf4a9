#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/file_system.h"
#include "checkpoint/manifest.h"

namespace trident {

/// A run's checkpoints/ folder. Names in it: step_00000100/ (a checkpoint, whole), step_00000100.abandoned/ (set aside,
/// because the run went on from an older one), .tmp.step_00000100.ID/ (being written), .del.step_00000100/ (being
/// deleted), latest (a hint: the newest's name), .writer (the lease).
class CheckpointRoot {
 public:
  static constexpr std::string_view kAbandoned = ".abandoned";

  explicit CheckpointRoot(std::filesystem::path root) : root_(std::move(root)) {}

  struct Entry {
    int64_t step = 0;
    std::filesystem::path folder;
  };
  /// Checkpoints by name alone, newest first; empty where the folder is not there. Throws Error(io) where it cannot be
  /// read.
  [[nodiscard]] std::vector<Entry> list() const;
  [[nodiscard]] std::filesystem::path folder(int64_t step) const;
  /// Those that were set aside, newest first.
  [[nodiscard]] std::vector<Entry> list_abandoned() const;
  [[nodiscard]] std::filesystem::path abandoned(int64_t step) const;
  [[nodiscard]] std::filesystem::path temporary(int64_t step, const std::string& id) const;
  [[nodiscard]] const std::filesystem::path& path() const { return root_; }

  /// Removes what interrupted writers and deleters left. Under the lease only. Returns the number of folders.
  int sweep(FileSystem& files) const;
  /// Deletes what retention does not keep: of the checkpoints, all but the newest `keep` (0: all are kept) and those
  /// whose step is a multiple of `keep_every` (0: none). `verified` is never deleted. Of those set aside, the ones that
  /// `keep` checkpoints of as many steps or more have replaced. Renames before it deletes.
  void retain(FileSystem& files, int64_t keep, int64_t keep_every, int64_t verified) const;

 private:
  [[nodiscard]] std::vector<Entry> list(std::string_view suffix) const;

  std::filesystem::path root_;
};

/// The right to write into a root, held by one process of one run: a lock on ROOT/.writer that the system gives back
/// when its holder dies. The file says who has it, as JSON: {"run", "host", "pid"}.
class WriterLease {
 public:
  /// Makes the root where it is missing, durably. Throws Error(config) naming run, host and process of the holder where
  /// another one has it; Error(io) where the root cannot be written.
  WriterLease(const CheckpointRoot& root, const std::string& run_id, FileSystem& files = posix_file_system());
  ~WriterLease();
  WriterLease(const WriterLease&) = delete;
  WriterLease& operator=(const WriterLease&) = delete;

 private:
  int descriptor_ = -1;
};

/// Files that go into the checkpoint besides the ranks': name and content.
struct Attachment {
  std::string name;
  std::string content;
};

/// The last part of saving, by rank 0 once every rank's file is written and synced in `temporary`: checks that the
/// segments cover every element exactly once, writes attachments, the view and, last, the manifest, each synced, then
/// gives the folder its name and points `latest` at it. `manifest.extra_files` is filled in. Returns the checkpoint's
/// folder. On failure throws, and `temporary` is the caller's to remove. That `latest` cannot be written is no failure:
/// the checkpoint is there, so it is only logged.
std::filesystem::path commit_checkpoint(FileSystem& files, const CheckpointRoot& root,
                                        const std::filesystem::path& temporary, Manifest& manifest,
                                        const std::vector<Attachment>& attachments);

}  // namespace trident
