#include "launch/serve_node.h"

#include <limits>
#include <utility>

#include "core/error.h"
#include "core/log.h"
#include "launch/agent_service.h"
#include "launch/janitor.h"
#include "launch/node_lock.h"
#include "launch/run_job.h"
#include "launch/run_lock.h"

namespace trident {
namespace {

// This node's agent was elected to coordinate from here on.
int coordinate(LaunchPlan plan, const NodeTask& task, Agent& agent, AgentService& service, NodeFaults& faults) {
  const int64_t epoch = service.peers().elected().value();
  const NodeView view = service.view();
  const std::string lost = plan.hosts.at(view.coordinator).name;
  log::warning("the coordinator on {} is lost: this node takes its place from epoch {} on", lost, epoch);
  agent.extend_lease(std::numeric_limits<int64_t>::max());
  const NodePeer self = service.peers().self();
  Nodes nodes(agent,
              ClusterOptions{.hosts = plan.hosts,
                             .self = task.node,
                             .remote_shell = plan.coordinator.remote_shell,
                             .agent_command = plan.agent_command,
                             .times = plan.times},
              task.secret, service.peers().take_listener(), self.address);
  nodes.gather_voters(view, epoch);
  const JobConfig& job = plan.coordinator.job;
  const RunDirectory folder(job.run.dir, job.run.name);
  const RunLock lock(folder, std::chrono::duration_cast<std::chrono::milliseconds>(plan.times.timeout));
  plan.coordinator.least_epoch = epoch;
  plan.coordinator.node_faults = &faults;
  plan.coordinator.replaced = {
      lost, "node " + lost + ", which coordinated, is lost",
      "most nodes do not hear it; " + self.host + " coordinates from epoch " + std::to_string(epoch) + " on"};
  return run_job(std::move(plan), folder, nodes);
}

}  // namespace

RunDirectory shared_folder(const LaunchPlan& plan) {
  const JobConfig& job = plan.coordinator.job;
  RunDirectory folder(job.run.dir, job.run.name);
  if (folder.exists()) return folder;
  throw Error(ErrorCode::input_missing, "launch/agent", folder.root().string() + " is not there on " + host_name(),
              "run.dir must be a folder that all nodes share, under the same name");
}

int serve_node(LaunchPlan plan, const NodeTask& task, const std::function<void()>& at_work) {
  const JobPlace place(shared_folder(plan).root());
  const NodeLock node_lock(place);
  const Janitor janitor(place);
  Agent agent(place);
  at_work();
  const std::string host = plan.hosts.at(task.node).name;
  NodeFaults faults = plan.faults_of_node(task.node);
  AgentService service(agent, node_lock, {task.node, host, task.address, task.port, plan.times, &faults}, task.secret);
  const AgentEnd end = service.run();
  if (end == AgentEnd::elected) return coordinate(std::move(plan), task, agent, service, faults);
  if (end == AgentEnd::released) return 0;
  log::error(
      "the coordinator is lost, and nobody takes its place: this node's ranks have been killed; start the same "
      "`trident launch` again");
  return static_cast<int>(ErrorCode::peer_lost);
}

}  // namespace trident
