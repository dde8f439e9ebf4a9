#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace trident {

/// Where a job's processes meet on this node, and all the names that they leave in it: a folder in /dev/shm that this
/// user alone may enter, and shared memory beside it. The names follow from the run's folder, so that the next agent of
/// the same run finds what an agent that died left behind.
class JobPlace {
 public:
  explicit JobPlace(const std::filesystem::path& run);

  /// Makes the folder anew; what an agent that died left is removed, but the snapshots. Throws Error(io).
  void create() const;
  /// Removes the folder, and heartbeats.
  void remove() const noexcept;
  /// What a gang left: the launcher's session, the ranks' message memory and their heartbeats.
  void remove_gang(int64_t epoch) const noexcept;
  void remove_snapshots() const noexcept;

  [[nodiscard]] const std::string& id() const { return id_; }
  [[nodiscard]] std::filesystem::path folder() const;
  [[nodiscard]] std::filesystem::path socket() const { return folder() / "agent"; }
  [[nodiscard]] std::filesystem::path session(int64_t epoch) const;
  [[nodiscard]] std::string heartbeats(int64_t epoch) const;
  [[nodiscard]] std::string snapshots() const { return "/trident." + id_ + ".snapshot"; }

 private:
  void remove_shared(const std::string& prefix) const noexcept;

  std::string id_;
};

}  // namespace trident
