#include "launch/agent_link.h"

#include <cstdlib>

namespace trident {

AgentLink::AgentLink(const LaunchEnvironment& launch) : supervision_(Supervision::detect()) {
  if (!supervision_) return;
  split_off_guardian(*supervision_, launch.rank);
  heartbeat_.emplace(HeartbeatMemory::attach(supervision_->heartbeats), launch.local_rank.value_or(launch.rank),
                     launch.rank);
  crash_handler_.emplace(*heartbeat_);
  const char* faults = std::getenv("TRIDENT_INJECT");  // NOLINT(concurrency-mt-unsafe)
  if (faults != nullptr) injector_.emplace(*heartbeat_, parse_faults(faults), launch.rank, supervision_->epoch);
}

TrainProgress* AgentLink::progress() {
  if (injector_) return &*injector_;
  return heartbeat_ ? &*heartbeat_ : nullptr;
}

int AgentLink::attempt() const { return supervision_ ? static_cast<int>(supervision_->epoch) : 0; }

void AgentLink::join(Communicator world) {
  if (!supervised()) return;
  world.set_progress_sink(progress());
  if (injector_) injector_->join(world);
}

void AgentLink::finished(int exit_code) {
  if (heartbeat_) heartbeat_->finished(exit_code);
}

}  // namespace trident
