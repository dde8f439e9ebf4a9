#pragma once

#include <atomic>
#include <cstdint>

#include "checkpoint/forwarding_files.h"

namespace trident {

/// Files of `inner`, on a disk that a test fills up or lets hang for a while. May be used by several threads.
class FaultyFileSystem final : public ForwardingFiles {
 public:
  using ForwardingFiles::ForwardingFiles;

  /// For so long nothing can be written: every call fails with ENOSPC.
  void fill_for(double seconds) { full_until_ = from_now(seconds); }
  /// For so long no call returns.
  void hang_for(double seconds) { hung_until_ = from_now(seconds); }

  std::unique_ptr<WritableFile> create(const std::filesystem::path& path) override;

  /// What every call that writes goes through.
  void pass(const std::filesystem::path& path) const;

 private:
  void before(const std::filesystem::path& path) override { pass(path); }
  [[nodiscard]] static int64_t from_now(double seconds);

  std::atomic<int64_t> full_until_{0}, hung_until_{0};  // steady clock, nanoseconds
};

}  // namespace trident
