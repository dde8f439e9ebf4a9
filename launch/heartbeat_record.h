#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "parallel/comm/progress.h"
#include "parallel/pipeline/action.h"
#include "train/progress.h"
#include "train/state_fault.h"

namespace trident {

/// How often a duration was seen, by its magnitude: two buckets for every doubling, from a nanosecond on.
struct DurationCounts {
  static constexpr size_t kBuckets = 96;
  std::array<uint32_t, kBuckets> counts{};

  [[nodiscard]] static size_t bucket_of(int64_t nanoseconds);
  /// The longest duration, in seconds, that the bucket holds.
  [[nodiscard]] static double upper_seconds(size_t bucket);
  [[nodiscard]] uint64_t total() const;
  /// What this share of them did not exceed, in seconds; 0 where there are none.
  [[nodiscard]] double quantile(double share) const;
  void add(const DurationCounts& other);
};

/// One group's collectives as a rank sees them, or its messages to or from one peer.
struct GroupRecord {
  std::string group;
  int peer = -1;  ///< of messages: the other's rank in the group
  CollectiveOp op = CollectiveOp::barrier;
  uint64_t entered = 0;  ///< calls begun
  uint64_t left = 0;     ///< calls done
  int64_t bytes = 0;     ///< of the call begun last
};

/// What all ranks found out about one of them.
struct Blame {
  StateFault::Kind kind = StateFault::Kind::corrupted;
  int rank = -1;     ///< -1: it cannot be told which
  int64_t step = 0;  ///< that was being done
};

/// What a rank's heartbeat says.
struct RankRecord {
  enum class State : uint32_t { absent, running, finished, failed, crashed };
  State state = State::absent;
  int rank = 0;
  int64_t pid = 0;
  uint64_t beats = 0;            ///< grows with everything that the training thread tells
  int exit_code = 0;             ///< where finished or failed
  int signal = 0;                ///< where crashed
  int64_t ended_ns = 0;          ///< steady clock, where finished, failed or crashed
  std::string message;           ///< where failed: the error
  std::optional<Blame> blame{};  ///< where failed by that
  TrainPhase phase = TrainPhase::starting;
  int64_t step = 0;                        ///< being worked on, from 1
  std::optional<pipeline::Action> action;  ///< the last that a pipeline began in this phase
  int64_t resumed = -1;                    ///< step that training went on from; -1: not yet
  int64_t done = -1;                       ///< last step done
  int64_t committed = -1;                  ///< last step that a restart finds again
  uint64_t loss_bits = 0;                  ///< of the last step done
  double busy_seconds = 0;                 ///< of the last step done
  std::optional<size_t> waits_in{};        ///< number in `groups` of what the rank stands still for
  std::vector<GroupRecord> groups{};
  std::array<DurationCounts, kTrainPhases> phases{};

  /// How far it is; furthest is who has left.
  [[nodiscard]] std::tuple<bool, int64_t, TrainPhase> progress() const {
    return {state == State::finished, step, phase};
  }
};

}  // namespace trident
