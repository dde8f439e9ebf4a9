#include "parallel/pipeline/schedule.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.h"
#include "parallel/pipeline/schedules.h"

namespace trident::pipeline {
namespace {

std::optional<Refusal> refuse_numbers(const ScheduleRequest& request) {
  if (request.ranks < 1 || request.ranks > kMaxRanks)
    return Refusal{fmt::format("{} pipeline ranks", request.ranks), fmt::format("1 to {} are possible", kMaxRanks)};
  if (request.microbatches < 1)
    return Refusal{fmt::format("{} microbatches", request.microbatches), "at least 1 is needed"};
  if (request.virtual_stages < 0)
    return Refusal{fmt::format("{} virtual stages per rank", request.virtual_stages), "at least 1 is needed"};
  return std::nullopt;
}

std::optional<Refusal> refuse_virtual_stages(const ScheduleRequest& request) {
  const int64_t v = request.virtual_stages;
  // 1 is every job's default, so zb-v takes it as "not said".
  if (request.name == "zb-v" && v > 2)
    return Refusal{fmt::format("zb-v has exactly two stages per rank, not {}", v), "use 2 virtual stages"};
  if (request.name != "zb-v" && request.name != "interleaved" && v > 1)
    return Refusal{fmt::format("{} has one stage per rank, not {}", request.name, v),
                   fmt::format("use 1 virtual stage, or interleaved with {}", v)};
  return std::nullopt;
}

std::optional<Refusal> refuse_size(const ScheduleRequest& request) {
  const int64_t p = request.ranks, v = stages_per_rank(request), m = request.microbatches;
  if (v > kMaxStages / p)
    return Refusal{fmt::format("{} ranks of {} virtual stages are more than {} stages", p, v, kMaxStages),
                   fmt::format("with {} ranks up to {} virtual stages are possible", p, kMaxStages / p)};
  const int64_t most = kMaxStageMicrobatches / (p * v);
  if (m > most)
    return Refusal{fmt::format("{} stages and {} microbatches make too long a schedule", p * v, m),
                   fmt::format("with {} stages up to {} microbatches are possible", p * v, most)};
  return std::nullopt;
}

std::optional<Refusal> refuse_interleaving(const ScheduleRequest& request) {
  if (request.name != "interleaved" || stages_per_rank(request) == 1) return std::nullopt;
  if (request.microbatches >= request.ranks) return std::nullopt;
  return Refusal{
      fmt::format("interleaved takes microbatches in groups of at least the {} ranks, and {} {} fewer", request.ranks,
                  request.microbatches, request.microbatches == 1 ? "is" : "are"),
      fmt::format("use {} microbatches or more, {} ranks or fewer, or 1f1b", request.ranks, request.microbatches)};
}

}  // namespace

int64_t stages_per_rank(const ScheduleRequest& request) {
  if (request.name == "zb-v") return 2;
  if (request.virtual_stages > 0) return request.virtual_stages;
  return request.name == "interleaved" ? 2 : 1;
}

std::vector<int32_t> Schedule::stages_of(int32_t rank) const {
  std::vector<int32_t> own;
  for (int32_t stage = 0; stage < stages(); ++stage)
    if (rank_of(stage) == rank) own.push_back(stage);
  return own;
}

const std::vector<std::string>& schedule_names() {
  static const std::vector<std::string> names = {"gpipe", "1f1b", "interleaved", "zb-h1", "zb-v"};
  return names;
}

std::optional<Refusal> refuse(const ScheduleRequest& request) {
  const auto& names = schedule_names();
  if (std::find(names.begin(), names.end(), request.name) == names.end())
    return Refusal{fmt::format("no schedule is called {}", request.name),
                   fmt::format("use {}", fmt::join(names, ", "))};
  for (const auto rule : {refuse_numbers, refuse_virtual_stages, refuse_size, refuse_interleaving})
    if (auto refusal = rule(request)) return refusal;
  return std::nullopt;
}

Schedule make_schedule(const ScheduleRequest& request) {
  if (auto refusal = refuse(request))
    throw Error(ErrorCode::config, "parallel/pipeline", refusal->reason, refusal->remedy);
  const auto p = static_cast<int32_t>(request.ranks), m = static_cast<int32_t>(request.microbatches);
  if (request.name == "gpipe") return gpipe(p, m);
  if (request.name == "1f1b") return one_f_one_b(p, m);
  if (request.name == "zb-h1") return zb_h1(p, m);
  if (request.name == "zb-v") return zb_v(p, m);
  return interleaved(p, static_cast<int32_t>(stages_per_rank(request)), m);
}

std::string to_text(const Schedule& schedule) {
  std::string text = fmt::format("{}: {} ranks, {} stages, {} microbatches\n", schedule.name, schedule.ranks,
                                 schedule.stages(), schedule.microbatches);
  for (int32_t rank = 0; rank < schedule.ranks; ++rank) {
    text += fmt::format("rank {} (stage {}):", rank, fmt::join(schedule.stages_of(rank), ", "));
    for (const Action& action : schedule.actions[static_cast<size_t>(rank)]) text += ' ' + to_string(action);
    text += '\n';
  }
  return text;
}

}  // namespace trident::pipeline
