#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

#include "launch/fault.h"
#include "launch/faulty_file_system.h"
#include "parallel/comm/communicator.h"
#include "train/progress.h"
#include "train/rank_holdings.h"

namespace trident {

/// Thrown through training by a fault that makes a rank leave as if it were done; no error.
struct LeftEarly {};

struct InjectorOptions {
  std::vector<InjectedFault> faults;  ///< the same on all ranks
  int rank = 0;
  int64_t epoch = 1;
  std::filesystem::path journal;  ///< told of each fault before it happens; empty: nobody is
};

/// Passes everything on to `inner`, and makes the faults happen that are due at this rank in this epoch.
class FaultInjector final : public TrainProgress {
 public:
  FaultInjector(TrainProgress& inner, InjectorOptions options);

  /// Collective. `world` tells this object of its operations already.
  void join(const Communicator& world);
  /// For checkpoints.
  [[nodiscard]] FileSystem& files() { return files_; }

  void phase(TrainPhase phase, int64_t step) override;
  void holds(const RankHoldings& holdings) override { holdings_ = holdings; }
  void action(const pipeline::Action& action) override { inner_.action(action); }
  void resumed(int64_t step) override { inner_.resumed(step); }
  void step_done(int64_t step, double loss, double busy) override { inner_.step_done(step, loss, busy); }
  void committed(int64_t step) override { inner_.committed(step); }
  [[nodiscard]] bool may_commit() const override { return inner_.may_commit(); }
  void entered(const ProgressRecord& record) override { inner_.entered(record); }
  void left(const ProgressRecord& record) override { inner_.left(record); }
  void waits(const ProgressRecord& record) override { inner_.waits(record); }
  void waited(const ProgressRecord& record) override { inner_.waited(record); }

 private:
  struct Due {
    InjectedFault fault;
    bool told = false;
  };
  [[nodiscard]] bool has_happened(const InjectedFault& fault) const;
  void tell(Due& due);
  void happen(const InjectedFault& fault);
  void flip(const InjectedFault& fault);
  void make_nan(const InjectedFault& fault);

  TrainProgress& inner_;
  InjectorOptions options_;
  std::vector<Due> faults_;
  std::optional<RankHoldings> holdings_;
  FaultyFileSystem files_{posix_file_system()};
  Communicator world_ = Communicator::self();
  Communicator extra_ = Communicator::self();  // all ranks, for a call that one leaves out
};

}  // namespace trident
