#include "launch/agent_link.h"

#include <charconv>
#include <cstdlib>
#include <string>

namespace trident {
namespace {

std::string variable(const char* name) {
  const char* value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe)
  return value == nullptr ? "" : value;
}

}  // namespace

AgentLink::AgentLink(const LaunchEnvironment& launch) : supervision_(Supervision::detect()) {
  if (!supervision_) return;
  split_off_guardian(*supervision_, launch.rank);
  heartbeat_.emplace(HeartbeatMemory::attach(supervision_->heartbeats), launch.local_rank.value_or(launch.rank),
                     launch.rank);
  crash_handler_.emplace(*heartbeat_);
  const std::string faults = variable("TRIDENT_INJECT");
  if (faults.empty()) return;
  injector_.emplace(*heartbeat_, InjectorOptions{parse_faults(faults), launch.rank, supervision_->epoch,
                                                 variable("TRIDENT_INJECTED")});
}

TrainProgress* AgentLink::progress() {
  if (injector_) return &*injector_;
  return heartbeat_ ? &*heartbeat_ : nullptr;
}

FileSystem& AgentLink::files() { return injector_ ? injector_->files() : posix_file_system(); }

int64_t AgentLink::suspect_step() {
  const std::string text = variable("TRIDENT_SUSPECT_STEP");
  int64_t step = 0;
  (void)std::from_chars(text.data(), text.data() + text.size(), step);
  return step;
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
