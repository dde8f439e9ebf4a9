#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace trident {

std::string host_name();
std::int64_t process_id();

/// A run's folder, `<dir>/<name>/`, and the names of everything in it.
class RunDirectory {
 public:
  /// Names paths only; touches nothing. Throws Error where `name` is no plain folder name.
  RunDirectory(const std::filesystem::path& dir, std::string_view name);
  /// The run at `root`, as a tool gets it from its command line.
  explicit RunDirectory(std::filesystem::path root);

  /// Makes the folder with logs/, tb/, trace/ and checkpoints/; what is there already stays. Throws Error.
  void create() const;

  bool exists() const;
  /// The highest attempt that metrics.jsonl and events.jsonl know, 0 for a run that never started.
  int previous_attempt() const;

  /// Writes config.resolved.yaml: the old file or the new one is there, never a part. Throws Error.
  void write_config(std::string_view yaml) const;
  /// The text of config.resolved.yaml, empty where there is none.
  std::string read_config() const;

  const std::filesystem::path& root() const { return root_; }
  std::filesystem::path config() const { return root_ / "config.resolved.yaml"; }
  std::filesystem::path id() const { return root_ / "run.id"; }
  std::filesystem::path gemm_choice() const { return root_ / "gemm.json"; }
  std::filesystem::path metrics() const { return root_ / "metrics.jsonl"; }
  std::filesystem::path events() const { return root_ / "events.jsonl"; }
  std::filesystem::path epochs() const { return root_ / "epochs.jsonl"; }
  std::filesystem::path injections() const { return root_ / "injected.jsonl"; }
  std::filesystem::path chaos() const { return root_ / "chaos.jsonl"; }
  /// While the status server runs: where.
  std::filesystem::path status() const { return root_ / "status.json"; }
  std::filesystem::path agent_lock() const { return root_ / ".agent"; }
  std::filesystem::path report() const { return root_ / "report.html"; }
  std::filesystem::path tensorboard() const { return root_ / "tb"; }
  std::filesystem::path logs() const { return root_ / "logs"; }
  std::filesystem::path trace() const { return root_ / "trace"; }
  std::filesystem::path checkpoints() const { return root_ / "checkpoints"; }
  std::filesystem::path latest() const { return checkpoints() / "latest"; }
  std::filesystem::path rank_log(int rank) const;             ///< logs/rank_00003.log
  std::filesystem::path checkpoint(std::int64_t step) const;  ///< checkpoints/step_00000100

 private:
  std::filesystem::path root_;
};

}  // namespace trident
