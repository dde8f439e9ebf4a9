#pragma once

#include <chrono>

#include "launch/unique_descriptor.h"
#include "train/metrics/run_directory.h"

namespace trident {

/// One coordinator a run, as far as its file system says: held as long as this lives.
class RunLock {
 public:
  /// Throws Error(io) where another process holds it.
  explicit RunLock(const RunDirectory& run);
  /// Waits for so long, and goes on without it, with a warning: for who has been elected, where the file system of a
  /// node that is gone still holds it.
  RunLock(const RunDirectory& run, std::chrono::milliseconds most);

 private:
  [[nodiscard]] bool take();

  UniqueDescriptor file_;
};

}  // namespace trident
