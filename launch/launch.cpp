#include <memory>
#include <optional>
#include <utility>

#include "launch/janitor.h"
#include "launch/launch_options.h"
#include "launch/node_lock.h"
#include "launch/run_job.h"
#include "launch/run_lock.h"
#include "launch/serve_node.h"
#include "launch/slurm_step.h"
#include "launch/verbs.h"
#include "train/job_data.h"
#include "train/resume.h"

namespace trident {
namespace {

std::unique_ptr<Nodes> nodes_of(const LaunchPlan& plan, uint32_t self, const RunDirectory& folder, Agent& agent,
                                const std::optional<SlurmStep>& step, const NodeFaults& faults) {
  if (plan.hosts.size() < 2) return std::make_unique<Nodes>(agent, plan.ranks());
  const std::string address = address_towards(plan.hosts[self == 0 ? 1 : 0].name);
  const JobSecret secret = step ? step->make_secret(folder) : JobSecret::generate();
  WireListener listener({.address = address, .cable = faults.cable()}, secret);
  if (step) step->publish(folder, {address, listener.port()});
  ClusterOptions options{.hosts = plan.hosts,
                         .self = self,
                         .remote_shell = step ? std::string() : plan.coordinator.remote_shell,
                         .agent_command = plan.agent_command,
                         .times = plan.times};
  return std::make_unique<Nodes>(agent, std::move(options), secret, std::move(listener), address);
}

// What every rank would find missing is said once, before anything is started or made.
void require_inputs(const JobConfig& job, const RunDirectory& folder) {
  (void)plan_resume(job, folder);
  const JobInputs inputs(job);
}

int coordinate(LaunchPlan plan, uint32_t self, const std::optional<SlurmStep>& step) {
  const JobConfig& job = plan.coordinator.job;
  const RunDirectory folder(job.run.dir, job.run.name);
  require_inputs(job, folder);
  folder.create();
  const RunLock lock(folder);
  const JobPlace place(folder.root());
  const NodeLock node_lock(place);
  const Janitor janitor(place);
  Agent agent(place);
  NodeFaults faults = plan.faults_of_node(self);
  const auto nodes = nodes_of(plan, self, folder, agent, step, faults);
  nodes->gather();
  if (step) step->remove(folder);
  plan.coordinator.node_faults = &faults;
  return run_job(std::move(plan), folder, *nodes);
}

// Another task of the step coordinates.
int serve(LaunchPlan plan, uint32_t self, const SlurmStep& step) {
  const JobConfig& job = plan.coordinator.job;
  const RunDirectory folder(job.run.dir, job.run.name);
  auto [endpoint, secret] = step.find(folder);
  return serve_node(std::move(plan), {self, endpoint.address, endpoint.port, secret}, [] {});
}

int run(const LaunchArguments& arguments) {
  LaunchPlan plan = plan_launch(arguments);
  if (plan.hosts.empty()) return coordinate(std::move(plan), 0, std::nullopt);
  const auto self = static_cast<uint32_t>(find_this_machine(plan.hosts));
  const auto step = SlurmStep::detect();
  if (step && self != 0) return serve(std::move(plan), self, *step);
  return coordinate(std::move(plan), self, step);
}

}  // namespace

void add_launch(Verb& program, Action& action) {
  auto arguments = std::make_shared<LaunchArguments>();
  Verb verb = program.add_verb("launch", "Run a job on several ranks, and restart it when one fails");
  add_launch_options(verb, *arguments);
  verb.footer(
      "Examples:\n  trident launch configs/quickstart.yaml --ranks 4 --mpirun=--oversubscribe\n"
      "  trident launch job.yaml training.steps=100\n"
      "  trident launch job.yaml --hostfile hosts --remote-shell 'ssh -q'\n"
      "SIGTERM, SIGUSR1 or Ctrl-C: a checkpoint at the end of the step, exit code 75; the same command goes on.\n"
      "What happened to ranks and nodes is in the run's events.jsonl and epochs.jsonl.");
  verb.on_parsed([&action, arguments] { action = [arguments] { return run(*arguments); }; });
}

void add_chaos(Verb& program, Action& action) {
  auto arguments = std::make_shared<LaunchArguments>();
  Verb verb = program.add_verb("chaos", "`trident launch` with a schedule of faults that it has to survive");
  verb.add_option("schedule", arguments->schedule, "The faults (YAML)").required().type_name("SCHEDULE.yaml");
  add_launch_options(verb, *arguments);
  verb.footer(
      "Example:\n  trident chaos faults.yaml job.yaml --ranks 4 run.name=chaos\n"
      "A schedule: {faults: [{kind: kill, rank: 2, step: 5}], random: {faults: 10, seed: 7, kinds: [kill, stop]}}\n"
      "Faults of nodes, links, agents and the coordinator (cut_link, agent_kill, ...) take --hostfile.\n"
      "What became of each fault is in the run's chaos.jsonl. Exit code 70 where one was not detected or was blamed "
      "on\n"
      "the wrong rank or cause; otherwise that of `trident launch`.");
  verb.on_parsed([&action, arguments] { action = [arguments] { return run(*arguments); }; });
}

}  // namespace trident
