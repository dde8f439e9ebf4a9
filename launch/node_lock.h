#pragma once

#include "launch/job_place.h"
#include "launch/unique_descriptor.h"

namespace trident {

/// Whoever holds it uses the job's place on this node: its agent, and after that was killed the janitor that cleans up.
/// The kernel frees it when its last holder ends.
class NodeLock {
 public:
  /// Asks another holder to make way, and waits a little. Throws Error(io) where it does not.
  explicit NodeLock(const JobPlace& place);

  /// Readable when another process wants it.
  [[nodiscard]] int descriptor() const { return socket_.get(); }

 private:
  UniqueDescriptor socket_;
};

}  // namespace trident
