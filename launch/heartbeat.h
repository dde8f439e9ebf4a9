#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "launch/heartbeat_memory.h"
#include "train/progress.h"

namespace trident {

/// One rank's side: writes where it is into its slot, without system calls but the clock's, which needs none. Used by
/// the training thread; crashed() by a signal handler.
class Heartbeat final : public TrainProgress {
 public:
  Heartbeat(HeartbeatMemory memory, int slot, int rank);

  void phase(TrainPhase phase, int64_t step) override;
  void action(const pipeline::Action& action) override;
  void resumed(int64_t step) override;
  void step_done(int64_t step, double loss, double busy_seconds) override;
  void committed(int64_t step) override;
  /// The node's lease has not run out.
  [[nodiscard]] bool may_commit() const override;
  void entered(const ProgressRecord& record) override;
  void left(const ProgressRecord& record) override;
  void waits(const ProgressRecord& record) override;
  void waited(const ProgressRecord& record) override;

  /// The rank is about to end, as it should; with an error; by a signal.
  void finished(int exit_code);
  void failed(int exit_code, std::string_view message, std::optional<Blame> blame = {});
  void crashed(int signal) noexcept;

 private:
  class Update;
  struct Known {
    const char* name;
    int peer;
    bool send;
  };
  [[nodiscard]] std::optional<size_t> group_of(const ProgressRecord& record);
  void end_phase();

  HeartbeatMemory memory_;
  HeartbeatSlot& slot_;
  std::vector<Known> known_;  // groups by what tells them apart within the process
  TrainPhase phase_ = TrainPhase::starting;
  int64_t phase_began_ = 0;
};

}  // namespace trident
