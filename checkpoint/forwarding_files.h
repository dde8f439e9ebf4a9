#pragma once

#include <filesystem>
#include <memory>

#include "checkpoint/file_system.h"

namespace trident {

/// The files of another system, for those who change some of what it does.
class ForwardingFiles : public FileSystem {
 public:
  explicit ForwardingFiles(FileSystem& inner = posix_file_system()) : inner_(inner) {}

  std::unique_ptr<WritableFile> create(const std::filesystem::path& path) override {
    before(path);
    return inner_.create(path);
  }
  void create_directory(const std::filesystem::path& path) override {
    before(path);
    inner_.create_directory(path);
  }
  void sync_directory(const std::filesystem::path& path) override {
    before(path);
    inner_.sync_directory(path);
  }
  void rename(const std::filesystem::path& from, const std::filesystem::path& to) override {
    before(from);
    inner_.rename(from, to);
  }
  void replace(const std::filesystem::path& from, const std::filesystem::path& to) override {
    before(from);
    inner_.replace(from, to);
  }
  void remove(const std::filesystem::path& path) override { inner_.remove(path); }

 protected:
  /// Called before anything but a removal, which needs no room.
  virtual void before(const std::filesystem::path&) {}

 private:
  FileSystem& inner_;
};

}  // namespace trident
