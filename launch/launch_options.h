#pragma once

#include <string>
#include <vector>

#include "launch/command_line.h"
#include "launch/coordinator.h"
#include "launch/hostfile.h"
#include "launch/node_faults.h"
#include "launch/remote_node.h"
#include "parallel/comm/launch_environment.h"
#include "train/config/job_config.h"

namespace trident {

/// What `trident launch` and the agents that it starts on other nodes are told.
struct LaunchArguments {
  std::string job;
  std::vector<std::string> overrides;
  int ranks = 0;
  std::string hostfile;
  std::string remote_shell = "ssh";
  std::vector<std::string> mpirun;
  std::string faults;      ///< the short form
  std::string schedule;    ///< a file of faults; empty: none
  bool scheduled = false;  ///< `faults` are those of a schedule that another node has read
};

void add_launch_options(Verb& verb, LaunchArguments& arguments);

/// A job that is to be supervised: decided once, for all starts.
struct LaunchPlan {
  std::vector<Host> hosts;  ///< empty: this machine alone
  CoordinatorOptions coordinator;
  std::vector<std::string> agent_command;  ///< this plan for an agent on another host
  NodeTimes times;
  bool scheduled = false;  ///< of the faults some are from a schedule

  [[nodiscard]] int ranks() const;
  [[nodiscard]] NodeFaults faults_of_node(uint32_t node) const;
};

/// Throws Error.
[[nodiscard]] LaunchPlan plan_launch(const LaunchArguments& arguments);

}  // namespace trident
