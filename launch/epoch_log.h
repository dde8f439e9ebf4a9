#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "launch/unique_descriptor.h"
#include "launch/verdict.h"
#include "parallel/comm/device_mesh.h"

namespace trident {

/// `<run>/epochs.jsonl`: every gang that a run had. Lines are only ever appended, and are on disk before the call
/// returns: an epoch number is never given twice, and who takes over from an agent that died reads where it was.
class EpochLog {
 public:
  /// Opens or makes the file; a last line that was cut off is removed. Throws Error(io).
  explicit EpochLog(const std::filesystem::path& path);

  /// The highest epoch begun so far, 0 where there is none.
  [[nodiscard]] int64_t last_epoch() const { return last_epoch_; }

  /// `hosts`: where its ranks run, in order, and how many. The first that a log begins is marked so, unless its
  /// coordinator has taken over from another one.
  void begin(int64_t epoch, const MeshShape& mesh, const std::vector<std::pair<std::string, int>>& hosts = {});
  /// From this epoch on another node coordinates.
  void coordinator(int64_t epoch, const std::string& host);
  /// All workers run: their process ids, by rank.
  void workers(int64_t epoch, const std::vector<int64_t>& pids);
  /// `committed`: the last step that a restart finds again, -1 where there is none. `outcome`: finished, preempted,
  /// interrupted, fault, and where it was a fault the verdict.
  void end(int64_t epoch, const std::string& outcome, int64_t committed, const Verdict* verdict);

 private:
  void append(const std::string& line);

  std::filesystem::path path_;
  UniqueDescriptor file_;
  int64_t last_epoch_ = 0;
  bool first_ = true;  // the next epoch is the first of this start of the command
};

}  // namespace trident
