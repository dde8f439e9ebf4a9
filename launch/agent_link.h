#pragma once

#include <memory>
#include <optional>
#include <string_view>

#include "core/error.h"
#include "launch/crash_handler.h"
#include "launch/fault_injection.h"
#include "launch/guardian.h"
#include "launch/heartbeat.h"
#include "parallel/comm/launch_environment.h"

namespace trident {

/// A rank's tie to the agent that started it. Where none did, it does nothing.
class AgentLink {
 public:
  /// Splits the process in two (split_off_guardian); only the worker comes back. Throws Error.
  explicit AgentLink(const LaunchEnvironment& launch);

  [[nodiscard]] bool supervised() const { return heartbeat_.has_value(); }
  /// Null where nobody watches.
  [[nodiscard]] TrainProgress* progress();
  /// The number of this start; 0 where nobody counts.
  [[nodiscard]] int attempt() const;

  /// The step whose result was not finite when a gang before this one did it; 0: none.
  [[nodiscard]] static int64_t suspect_step();
  /// What checkpoints are written to.
  [[nodiscard]] FileSystem& files();

  /// From now on the agent sees what the world's groups do. Collective.
  void join(Communicator world);
  /// Runs `work`; the agent is told of the error that ends it.
  template <class Work>
  auto telling(const Work& work) {
    try {
      return work();
    } catch (const StateFault& fault) {
      if (heartbeat_)
        heartbeat_->failed(fault.exit_code(), fault.what(), Blame{fault.kind(), fault.rank(), fault.step()});
      throw;
    } catch (const Error& error) {
      if (heartbeat_) heartbeat_->failed(error.exit_code(), error.what());
      throw;
    } catch (const std::exception& error) {
      if (heartbeat_) heartbeat_->failed(static_cast<int>(ErrorCode::internal), error.what());
      throw;
    }
  }
  /// Training has ended as it should.
  void finished(int exit_code);

 private:
  std::optional<Supervision> supervision_;
  std::optional<Heartbeat> heartbeat_;
  std::optional<CrashHandler> crash_handler_;
  std::optional<FaultInjector> injector_;
};

}  // namespace trident
