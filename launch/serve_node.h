#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "launch/launch_options.h"
#include "launch/wire/secret.h"

namespace trident {

/// A node's part in a job that another node coordinates.
struct NodeTask {
  uint32_t node = 0;    ///< its number in the hostfile
  std::string address;  ///< numeric, where the coordinator listens
  uint16_t port = 0;
  JobSecret secret;
};

/// Throws Error where the run's folder, which all nodes share, is not there.
[[nodiscard]] RunDirectory shared_folder(const LaunchPlan& plan);

/// Runs the node's agent to the job's end, and the job itself from where the other nodes elect this one to coordinate.
/// `at_work` is called once it can be relied on. Returns the exit code.
[[nodiscard]] int serve_node(LaunchPlan plan, const NodeTask& task, const std::function<void()>& at_work);

}  // namespace trident
