#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "train/progress.h"

namespace trident {

/// A fault that a test asks for: what happens to which rank, or to which node, when.
struct InjectedFault {
  enum class Kind {
    kill,       ///< SIGKILL
    stop,       ///< SIGSTOP
    segfault,   ///< SIGSEGV
    exit,       ///< exit(code) without a word
    leave,      ///< ends well, MPI too, while the others train on
    skip,       ///< leaves out a call that the others make
    mismatch,   ///< makes another call than the others
    hog,        ///< takes memory until the kernel kills it, at most 2 GiB
    livelock,   ///< the training thread computes for ever
    slow,       ///< takes `seconds` longer at every step from there on
    nan,        ///< a weight is no number: so are activations and loss
    flip,       ///< one bit of `in` changes, at a place drawn from `seed`
    full_disk,  ///< for `seconds` no checkpoint file takes any more bytes
    hung_disk,  ///< for `seconds` every write to a checkpoint stands still
    lose,       ///< SIGKILL, and its place is gone: the next gang has one rank fewer
    restore,    ///< once all ranks have done the step, all places are there again
    // Of a node, once a rank there is at the step:
    cut_link,          ///< for `seconds` its agent's frames, or the coordinator's, get nowhere, and none come to it
    one_way_link,      ///< the same, but it hears the others
    forged_frames,     ///< connections from it to the coordinator's port, of somebody who does not know the secret
    agent_kill,        ///< SIGKILL to its agent; nothing where the coordinator is the agent
    coordinator_kill,  ///< SIGKILL to the coordinator, wherever it is
  };
  enum class Place { weight, gradient, snapshot };

  static constexpr int64_t kEveryEpoch = 0;
  static constexpr int64_t kOnce = -1;  ///< in the first epoch that comes to it

  Kind kind = Kind::kill;
  int rank = 0;
  int node = 0;  ///< in the hostfile, from 0
  int64_t step = 1;
  int64_t epoch = 1;  ///< or kEveryEpoch, kOnce
  TrainPhase phase = TrainPhase::forward_backward;
  int code = 0;
  double seconds = 0;
  int times = 1;  ///< a link is cut so often, and whole for as long in between
  Place in = Place::weight;
  int64_t seed = 1;

  bool operator==(const InjectedFault&) const = default;
};

[[nodiscard]] std::string_view to_string(InjectedFault::Kind kind);
[[nodiscard]] std::string_view to_string(InjectedFault::Place place);
/// It happens to a node rather than to a rank.
[[nodiscard]] bool concerns_node(InjectedFault::Kind kind);
/// It happens to what a node and the others say to one another.
[[nodiscard]] bool concerns_link(InjectedFault::Kind kind);
/// In the order of the enumerations.
[[nodiscard]] std::span<const std::string_view> fault_kinds();
[[nodiscard]] std::span<const std::string_view> fault_places();
/// A phase by the first word of its name; -1 where none has it.
[[nodiscard]] int phase_number(std::string_view word);
/// Where a fault of a kind happens unless it says so itself.
[[nodiscard]] TrainPhase default_phase(InjectedFault::Kind kind, InjectedFault::Place in);

/// The short form, `kill@rank=2,step=5;exit@rank=0,step=9,code=3,epoch=0,phase=optimizer`; `epoch=once` is kOnce.
/// Throws Error(usage) naming what it does not understand.
[[nodiscard]] std::vector<InjectedFault> parse_faults(std::string_view text);
/// parse_faults of it gives equal faults.
[[nodiscard]] std::string to_text(const InjectedFault& fault);
[[nodiscard]] std::string to_text(std::span<const InjectedFault> faults);

}  // namespace trident
