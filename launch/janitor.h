#pragma once

#include <sys/types.h>

#include "launch/job_place.h"
#include "launch/unique_descriptor.h"

namespace trident {

/// A process that outlives an agent that is killed, only to remove the names that the job has on this node. The kernel
/// ends the job's processes by itself. Made before the agent has threads, locks or children.
class Janitor {
 public:
  explicit Janitor(const JobPlace& place);
  /// The agent has cleaned up itself.
  ~Janitor();
  Janitor(const Janitor&) = delete;
  Janitor& operator=(const Janitor&) = delete;

 private:
  UniqueDescriptor pipe_;
  pid_t process_ = -1;
};

}  // namespace trident
