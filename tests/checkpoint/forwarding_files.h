#pragma once

#include <filesystem>
#include <memory>

#include "checkpoint/file_system.h"

namespace trident::testing {

/// The system's files, for tests that change some of what they do.
class ForwardingFiles : public FileSystem {
 public:
  std::unique_ptr<WritableFile> create(const std::filesystem::path& path) override {
    return posix_file_system().create(path);
  }
  void create_directory(const std::filesystem::path& path) override { posix_file_system().create_directory(path); }
  void sync_directory(const std::filesystem::path& path) override { posix_file_system().sync_directory(path); }
  void rename(const std::filesystem::path& from, const std::filesystem::path& to) override {
    posix_file_system().rename(from, to);
  }
  void replace(const std::filesystem::path& from, const std::filesystem::path& to) override {
    posix_file_system().replace(from, to);
  }
  void remove(const std::filesystem::path& path) override { posix_file_system().remove(path); }
};

}  // namespace trident::testing
