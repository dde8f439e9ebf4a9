#pragma once

#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/checkpoint_problem.h"
#include "core/error.h"

namespace trident {

/// What to throw where a part of a checkpoint cannot be opened: Error(config) where this user may not read it, so that
/// nobody takes it for damage, otherwise as system_error.
[[nodiscard]] Error cannot_open(int errno_value, const std::filesystem::path& path);

/// A regular file of a checkpoint, open for reading.
class InputFile {
 public:
  InputFile(InputFile&& other) noexcept;
  InputFile& operator=(InputFile&& other) noexcept;
  ~InputFile();

  /// Bytes [offset, offset + out.size()). Throws DamagedCheckpoint where the file ends before, Error(io).
  void read(int64_t offset, std::span<std::byte> out) const;

 private:
  friend class CheckpointFolder;
  InputFile(int descriptor, std::filesystem::path folder, std::string name);

  int descriptor_ = -1;
  std::filesystem::path folder_;
  std::string name_;
};

/// The folder of a checkpoint, opened once. Its files are opened so that neither a link nor a pipe in their place is
/// followed or waited for.
class CheckpointFolder {
 public:
  /// Throws Error(input_missing) where it is not there, DamagedCheckpoint where it is a link or no folder.
  explicit CheckpointFolder(std::filesystem::path path);
  ~CheckpointFolder();
  CheckpointFolder(const CheckpointFolder&) = delete;
  CheckpointFolder& operator=(const CheckpointFolder&) = delete;

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  /// Whether anything of that name is there.
  [[nodiscard]] bool has(const std::string& name) const;
  /// What hinders opening `name` as a regular file of `bytes` bytes.
  [[nodiscard]] std::optional<CheckpointProblem> problem_with(const std::string& name, int64_t bytes) const;
  /// Throws DamagedCheckpoint for what problem_with() would say, Error(io).
  [[nodiscard]] InputFile open(const std::string& name, int64_t bytes) const;
  /// The whole content.
  [[nodiscard]] std::vector<std::byte> content(const std::string& name, int64_t bytes) const;
  /// What lies in it, sorted.
  [[nodiscard]] std::vector<std::string> names() const;

 private:
  /// Nothing where it is not there; a link is not followed.
  [[nodiscard]] std::optional<struct stat> look_at(const std::string& name) const;

  std::filesystem::path path_;
  int descriptor_ = -1;
};

}  // namespace trident
