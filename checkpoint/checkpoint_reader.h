#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/manifest.h"

namespace trident {

/// Something wrong with a checkpoint. Empty fields do not apply.
struct CheckpointProblem {
  std::string file;
  std::string tensor;
  std::optional<int64_t> block;  ///< number of the 4 MiB block of the file
  std::string detail;
};

/// A damaged checkpoint: Error(bad_data) that also says where, field by field.
class DamagedCheckpoint : public Error {
 public:
  explicit DamagedCheckpoint(CheckpointProblem problem);
  [[nodiscard]] const CheckpointProblem& problem_found() const { return problem_; }

 private:
  CheckpointProblem problem_;
};

/// Reads any rectangle of any logical tensor of a checkpoint, verifying every block that it touches. Trusts nothing but
/// the manifest: no HDF5 code and no link is followed. For one thread.
class CheckpointReader {
 public:
  /// Checks the manifest, the coverage, and that every file is there, regular, and of its exact size. Throws
  /// DamagedCheckpoint, NewerFormat, Error(input_missing).
  explicit CheckpointReader(std::filesystem::path folder);
  ~CheckpointReader();
  CheckpointReader(const CheckpointReader&) = delete;
  CheckpointReader& operator=(const CheckpointReader&) = delete;

  [[nodiscard]] const std::filesystem::path& folder() const { return folder_; }
  [[nodiscard]] const Manifest& manifest() const { return manifest_; }
  /// Its place in manifest().tensors; -1 where there is none of that name.
  [[nodiscard]] int find(const std::string& tensor) const;

  /// The elements of `block`, row by row. fp32 and fp64 convert. Ask in the order of manifest().tensors, rows
  /// ascending, to have every block read once. Throws DamagedCheckpoint naming file, tensor and block.
  void read(StateKind kind, int tensor, const LogicalBlock& block, std::span<float> out);
  void read(StateKind kind, int tensor, const LogicalBlock& block, std::span<double> out);
  /// The content of an extra file, verified. Throws DamagedCheckpoint; Error(input_missing) where there is none.
  [[nodiscard]] std::string extra_file(const std::string& name);

 private:
  struct Files;
  std::filesystem::path folder_;
  Manifest manifest_;
  std::unique_ptr<Files> files_;
};

/// Reads every byte of a checkpoint and compares all hashes and digests. Every problem, in file order.
struct CheckpointVerdict {
  enum class Kind { intact, corrupt, incomplete, newer_format };
  Kind kind = Kind::intact;
  std::vector<CheckpointProblem> problems;
};
[[nodiscard]] CheckpointVerdict verify_checkpoint(const std::filesystem::path& folder);

/// How one state of one tensor differs between two checkpoints.
struct TensorDifference {
  std::string tensor;
  StateKind kind = StateKind::master;
  std::string detail;              ///< shapes, or that it is only in one
  int64_t elements = 0;            ///< that differ
  double largest = 0;              ///< absolute
  double relative_norm = 0;        ///< ‖a − b‖ / ‖a‖
};
/// Tensors whose digests are equal are not read.
[[nodiscard]] std::vector<TensorDifference> diff_checkpoints(CheckpointReader& a, CheckpointReader& b);

}  // namespace trident
