#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

#include "checkpoint/checkpoint_problem.h"
#include "checkpoint/logical_block.h"
#include "checkpoint/manifest.h"
#include "checkpoint/rectangle_reader.h"

namespace trident {

/// Reads any rectangle of any logical tensor of a checkpoint, verifying every block that it touches. Trusts nothing but
/// the manifest: no HDF5 code and no link is followed. For one thread.
class CheckpointReader {
 public:
  /// Checks the manifest, the coverage, and that every file is there, regular, and of its exact size; the view, which
  /// nothing reads, excepted. Throws DamagedCheckpoint, NewerFormat, Error(input_missing).
  explicit CheckpointReader(std::filesystem::path folder);
  ~CheckpointReader();
  CheckpointReader(const CheckpointReader&) = delete;
  CheckpointReader& operator=(const CheckpointReader&) = delete;

  [[nodiscard]] const std::filesystem::path& folder() const;
  [[nodiscard]] const Manifest& manifest() const;
  /// Its place in manifest().tensors; -1 where there is none of that name.
  [[nodiscard]] int find(const std::string& tensor) const;

  /// RectangleReader::read. Throws DamagedCheckpoint naming file, tensor and block; Error(io).
  void read(StateKind kind, int tensor, const LogicalBlock& block, std::span<float> out);
  void read(StateKind kind, int tensor, const LogicalBlock& block, std::span<double> out);
  /// The content of an extra file, verified. Throws DamagedCheckpoint; Error(input_missing) where there is none.
  [[nodiscard]] std::string extra_file(const std::string& name);

  /// The same without its files' names.
  [[nodiscard]] RectangleReader& rectangles();

  /// Blocks read from rank files so far.
  [[nodiscard]] int64_t blocks_read() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace trident
