#include "parallel/pipeline/memory.h"

#include <algorithm>

#include "core/error.h"

namespace trident::pipeline {
namespace {

double change_by(Op op, const SavedSize& size) {
  switch (op) {
    case Op::forward: return size.until_input;
    case Op::backward: return -size.until_input;
    case Op::backward_input: return size.until_weight - size.until_input;
    case Op::backward_weight: return -size.until_weight;
    default: return 0;
  }
}

}  // namespace

std::vector<double> peak_memory(const Schedule& schedule, std::span<const SavedSize> sizes) {
  TRIDENT_CHECK(sizes.size() == 1 || sizes.size() == schedule.rank_of_stage.size(), "one size, or one per stage");
  std::vector<double> peaks;
  for (const auto& list : schedule.actions) {
    double live = 0, peak = 0;
    for (const Action& action : list) {
      live += change_by(action.op, sizes[sizes.size() == 1 ? 0 : static_cast<size_t>(action.stage)]);
      peak = std::max(peak, live);
    }
    peaks.push_back(peak);
  }
  return peaks;
}

std::vector<int32_t> peak_live(const Schedule& schedule) {
  const std::vector<double> peaks = peak_memory(schedule, std::vector<SavedSize>(1));
  return {peaks.begin(), peaks.end()};
}

}  // namespace trident::pipeline
