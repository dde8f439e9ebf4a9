#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace trident::pipeline {

/// What each part of a model costs, in any one unit. The embedding goes with the first layer's stage, the final norm
/// and the head with the last's.
struct LayerCosts {
  double embedding = 0;
  std::vector<double> layers;
  double head = 0;
};

/// Layers per stage, in order, each at least one: of all cuts with the smallest cost of the dearest stage, one with the
/// smallest sum of squared costs. Throws Error (config) where there are fewer layers than stages, or a cost is negative
/// or not finite.
[[nodiscard]] std::vector<int32_t> cut_stages(const LayerCosts& costs, int32_t stages);

/// A cut given by the user: throws Error (config) unless it has one positive number per stage that sum to `layers`.
void check_stage_cut(std::span<const int32_t> layers_per_stage, int32_t layers, int32_t stages);

/// The cost of every stage of a cut.
[[nodiscard]] std::vector<double> stage_costs(const LayerCosts& costs, std::span<const int32_t> layers_per_stage);

}  // namespace trident::pipeline
