#pragma once

#include <fmt/format.h>

#include <array>
#include <string>
#include <vector>

#include "parallel/comm/device_mesh.h"

namespace trident::config {

/// The orders in which ranks can be laid along the mesh's axes.
inline constexpr std::array<MeshOrder, 6> kRankOrders = {{{Axis::tp, Axis::dp, Axis::pp},
                                                          {Axis::tp, Axis::pp, Axis::dp},
                                                          {Axis::dp, Axis::tp, Axis::pp},
                                                          {Axis::dp, Axis::pp, Axis::tp},
                                                          {Axis::pp, Axis::tp, Axis::dp},
                                                          {Axis::pp, Axis::dp, Axis::tp}}};

/// `tp-dp-pp`
inline std::string name_of(const MeshOrder& order) {
  return fmt::format("{}-{}-{}", to_string(order[0]), to_string(order[1]), to_string(order[2]));
}

inline std::vector<std::string> rank_order_names() {
  std::vector<std::string> names;
  names.reserve(kRankOrders.size());
  for (const MeshOrder& order : kRankOrders) names.push_back(name_of(order));
  return names;
}

}  // namespace trident::config
