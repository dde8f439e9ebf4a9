#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "tests/checkpoint/recording_file_system.h"

namespace trident::testing {

/// A disk as POSIX allows it to be: only syncs make anything last. After a power failure every write since its file's
/// last sync may be there, missing, or torn into sectors of 512 bytes, and the file short or padded with zeros; every
/// change of names since its folder's last sync may be there or missing, whatever became of the others. A rename
/// within a folder is one change.
class CrashModel {
 public:
  /// What becomes of that which no sync made last.
  struct Fate {
    enum class Keep { none, all, some };
    Keep names = Keep::none;
    Keep data = Keep::none;
    uint32_t seed = 0;  ///< of `some`
  };
  /// Paths below the base to contents; folders end with a slash and have none.
  using Files = std::map<std::string, std::string>;

  /// `base` is there and lasts.
  explicit CrashModel(std::filesystem::path base);
  void apply(const FileCall& call);
  [[nodiscard]] Files after_power_failure(const Fate& fate) const;

 private:
  struct NameChange {
    std::string removed;  ///< empty: none
    std::string added;    ///< empty: none
    size_t inode = 0;     ///< of `added`
  };
  struct Write {
    int64_t offset = 0;
    std::string bytes;
  };
  struct Inode {
    bool folder = false;
    std::map<std::string, size_t> names, lasting_names;
    std::vector<NameChange> changes;  // since the last sync
    std::string lasting_bytes;
    std::vector<Write> writes;  // since the last sync
  };

  [[nodiscard]] size_t find(const std::filesystem::path& path) const;
  [[nodiscard]] Inode& folder_of(const std::filesystem::path& path);
  void add(const std::filesystem::path& path, bool folder);
  void change(Inode& folder, NameChange change);
  void move(const FileCall& call);
  void collect(size_t inode, const std::string& path, const Fate& fate, std::mt19937& random, Files& files) const;
  [[nodiscard]] static std::string content(const Inode& file, const Fate& fate, std::mt19937& random);

  std::filesystem::path base_;
  std::vector<Inode> inodes_;
};

/// Makes the files below `base`, which is emptied before.
void materialize(const CrashModel::Files& files, const std::filesystem::path& base);

}  // namespace trident::testing
