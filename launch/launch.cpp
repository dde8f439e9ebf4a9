#include <memory>
#include <utility>

#include "core/error.h"
#include "launch/coordinator.h"
#include "launch/janitor.h"
#include "launch/launch_options.h"
#include "launch/node_lock.h"
#include "launch/run_lock.h"
#include "launch/verbs.h"

namespace trident {
namespace {

std::unique_ptr<Nodes> nodes_of(const LaunchPlan& plan, const LaunchArguments& arguments, Agent& agent) {
  if (plan.hosts.size() < 2) return std::make_unique<Nodes>(agent, plan.ranks());
  const int self = find_this_machine(plan.hosts);
  const std::string address = address_towards(plan.hosts[self == 0 ? 1 : 0].name);
  const JobSecret secret = JobSecret::generate();
  return std::make_unique<Nodes>(agent,
                                 ClusterOptions{.hosts = plan.hosts,
                                                .self = static_cast<uint32_t>(self),
                                                .remote_shell = arguments.remote_shell,
                                                .agent_command = plan.agent_command,
                                                .times = plan.times},
                                 secret, WireListener({.address = address}, secret), address);
}

int run(const LaunchArguments& arguments) {
  LaunchPlan plan = plan_launch(arguments);
  const JobConfig& job = plan.coordinator.job;
  RunDirectory folder(job.run.dir, job.run.name);
  folder.create();
  const RunLock lock(folder);
  const JobPlace place(folder.root());
  const NodeLock node_lock(place);
  const Janitor janitor(place);
  Agent agent(place);
  const auto nodes = nodes_of(plan, arguments, agent);
  nodes->gather();
  return Coordinator(std::move(plan.coordinator), std::move(folder), *nodes).run();
}

}  // namespace

void add_launch(CLI::App& program, Action& action) {
  auto arguments = std::make_shared<LaunchArguments>();
  CLI::App* verb = program.add_subcommand("launch", "Run a job on several ranks, and restart it when one fails");
  add_launch_options(*verb, *arguments);
  verb->footer(
      "Examples:\n  trident launch configs/quickstart.yaml --ranks 4 --mpirun=--oversubscribe\n"
      "  trident launch job.yaml training.steps=100\n"
      "  trident launch job.yaml --hostfile hosts --remote-shell 'ssh -q'\n"
      "SIGTERM, SIGUSR1 or Ctrl-C: a checkpoint at the end of the step, exit code 75; the same command goes on.\n"
      "What happened to ranks and nodes is in the run's events.jsonl and epochs.jsonl.");
  verb->callback([&action, arguments] { action = [arguments] { return run(*arguments); }; });
}

}  // namespace trident
