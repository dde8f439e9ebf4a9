#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "parallel/pipeline/action.h"

namespace trident::pipeline {

/// What every rank of a pipeline does in one step, as data: what is printed, validated and simulated is what runs.
/// Generators return computation only (schedules.h); lower() adds communication.
struct Schedule {
  std::string name;
  int32_t ranks = 0;
  int32_t microbatches = 0;
  int32_t virtual_stages = 1;                ///< stages per rank
  std::vector<int32_t> rank_of_stage;        ///< the placement, one entry per stage
  std::vector<std::vector<Action>> actions;  ///< per rank, in order
  bool lowered = false;                      ///< sends and receives are in the lists

  [[nodiscard]] int32_t stages() const { return static_cast<int32_t>(rank_of_stage.size()); }
  [[nodiscard]] int32_t rank_of(int32_t stage) const { return rank_of_stage[static_cast<size_t>(stage)]; }
  /// The rank's stages, ascending.
  [[nodiscard]] std::vector<int32_t> stages_of(int32_t rank) const;
};

/// A schedule by its name: gpipe, 1f1b, interleaved, zb-h1 or zb-v.
struct ScheduleRequest {
  std::string name;
  int64_t ranks = 1;
  int64_t microbatches = 1;
  int64_t virtual_stages = 0;  ///< stages per rank; 0: the schedule's own (2 for interleaved and zb-v, otherwise 1)
};

/// What the request's virtual_stages means: the schedule's own number where it is 0.
[[nodiscard]] int64_t stages_per_rank(const ScheduleRequest& request);

/// Why a schedule cannot be had, and the nearest that can.
struct Refusal {
  std::string reason;
  std::string remedy;
};

inline constexpr int64_t kMaxRanks = 4096;
inline constexpr int64_t kMaxStages = 32768;
/// Bounds time and memory of everything below: stages × microbatches.
inline constexpr int64_t kMaxStageMicrobatches = int64_t{1} << 20;

[[nodiscard]] const std::vector<std::string>& schedule_names();
/// Nothing where make_schedule would succeed.
[[nodiscard]] std::optional<Refusal> refuse(const ScheduleRequest& request);
/// Throws Error (config) with the refusal's words.
[[nodiscard]] Schedule make_schedule(const ScheduleRequest& request);

/// One line per rank, its stages and its actions in order.
[[nodiscard]] std::string to_text(const Schedule& schedule);

}  // namespace trident::pipeline
