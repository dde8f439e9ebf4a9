#pragma once

#include <string>

#include "plan/cluster_spec.h"

namespace trident {

/// Reads a cluster description. Throws ConfigErrors with every problem at once, or Error(input_missing) where there is
/// no such file.
[[nodiscard]] plan::ClusterSpec load_cluster(const std::string& path);

/// The same for a text; `file_name` stands in messages.
[[nodiscard]] plan::ClusterSpec parse_cluster(const std::string& text, const std::string& file_name);

/// The complete file of a cluster; parse_cluster of it gives an equal one.
[[nodiscard]] std::string to_yaml(const plan::ClusterSpec& cluster);

}  // namespace trident
