#include <memory>
#include <utility>

#include "core/error.h"
#include "launch/coordinator.h"
#include "launch/janitor.h"
#include "launch/launch_options.h"
#include "launch/node_lock.h"
#include "launch/run_lock.h"
#include "launch/status/job_status.h"
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
  const RunDirectory folder(job.run.dir, job.run.name);
  folder.create();
  const RunLock lock(folder);
  const JobPlace place(folder.root());
  const NodeLock node_lock(place);
  const Janitor janitor(place);
  Agent agent(place);
  const auto nodes = nodes_of(plan, arguments, agent);
  nodes->gather();
  JobStatus status(job, folder);
  plan.coordinator.publish = [&status](const GangState& gang, int64_t epoch) { status.board().publish(gang, epoch); };
  Coordinator coordinator(std::move(plan.coordinator), folder, *nodes);
  status.serve();
  const int code = coordinator.run();
  status.finish();
  if (arguments.schedule.empty()) return code;
  const bool as_expected = coordinator.chaos().finish();
  return code != 0 || as_expected ? code : static_cast<int>(ErrorCode::internal);
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

void add_chaos(CLI::App& program, Action& action) {
  auto arguments = std::make_shared<LaunchArguments>();
  CLI::App* verb = program.add_subcommand("chaos", "`trident launch` with a schedule of faults that it has to survive");
  verb->add_option("schedule", arguments->schedule, "The faults (YAML)")->required()->type_name("SCHEDULE.yaml");
  add_launch_options(*verb, *arguments);
  verb->footer(
      "Example:\n  trident chaos faults.yaml job.yaml --ranks 4 run.name=chaos\n"
      "A schedule: {faults: [{kind: kill, rank: 2, step: 5}], random: {faults: 10, seed: 7, kinds: [kill, stop]}}\n"
      "What became of each fault is in the run's chaos.jsonl. Exit code 70 where one was not detected or was blamed "
      "on\n"
      "the wrong rank or cause; otherwise that of `trident launch`.");
  verb->callback([&action, arguments] { action = [arguments] { return run(*arguments); }; });
}

}  // namespace trident
