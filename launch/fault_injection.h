#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "parallel/comm/communicator.h"
#include "train/progress.h"

namespace trident {

/// A fault that a test asks for: what happens to which rank when.
struct InjectedFault {
  enum class Kind {
    kill,      ///< SIGKILL
    stop,      ///< SIGSTOP
    segfault,  ///< SIGSEGV
    exit,      ///< exit(code) without a word
    skip,      ///< leaves out a call that the others make
    mismatch,  ///< makes another call than the others
    livelock,  ///< the training thread computes for ever
    slow,      ///< takes `seconds` longer at every step from there on
    lose,      ///< SIGKILL, and its place is gone: the next gang has one rank fewer
    restore,   ///< once all ranks have done the step, all places are there again
  };
  Kind kind = Kind::kill;
  int rank = 0;
  int64_t step = 1;
  int64_t epoch = 1;  ///< 0: in every one
  TrainPhase phase = TrainPhase::forward_backward;
  int code = 0;
  double seconds = 0;
};

/// `kill@rank=2,step=5;exit@rank=0,step=9,code=3,epoch=0,phase=optimizer`; a phase is given by its first word. Throws
/// Error(usage) naming what it does not understand.
[[nodiscard]] std::vector<InjectedFault> parse_faults(std::string_view text);

/// Passes everything on to `inner`, and makes the faults happen that are due at this rank in this epoch. All ranks have
/// the same list.
class FaultInjector final : public TrainProgress {
 public:
  FaultInjector(TrainProgress& inner, std::vector<InjectedFault> faults, int rank, int64_t epoch);

  /// Collective. `world` tells this object of its operations already.
  void join(const Communicator& world);

  void phase(TrainPhase phase, int64_t step) override;
  void action(const pipeline::Action& action) override { inner_.action(action); }
  void resumed(int64_t step) override { inner_.resumed(step); }
  void step_done(int64_t step, double loss, double busy) override { inner_.step_done(step, loss, busy); }
  void committed(int64_t step) override { inner_.committed(step); }
  void entered(const ProgressRecord& record) override { inner_.entered(record); }
  void left(const ProgressRecord& record) override { inner_.left(record); }
  void waits(const ProgressRecord& record) override { inner_.waits(record); }
  void waited(const ProgressRecord& record) override { inner_.waited(record); }

 private:
  void happen(const InjectedFault& fault);

  TrainProgress& inner_;
  std::vector<InjectedFault> faults_;
  int rank_;
  Communicator world_ = Communicator::self();
  Communicator extra_ = Communicator::self();  // all ranks, for a call that one leaves out
};

}  // namespace trident
