#include <memory>
#include <utility>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/log.h"
#include "launch/coordinator.h"
#include "launch/janitor.h"
#include "launch/launch_options.h"
#include "launch/node_lock.h"
#include "launch/run_facts.h"
#include "launch/run_lock.h"
#include "launch/status/rank_board.h"
#include "launch/status/status_server.h"
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

// The ranks' own report knows neither how the last gang ended nor faults that ended the job.
void tell_end(const RunDirectory& run) {
  try {
    const ReportData data = load_report_data(run, facts_of(run));
    if (const std::string line = ledger_line(data.ledger); !line.empty()) log::info("wall time {}", line);
    if (data.history.last_attempt > 0) write_file_atomically(run.report(), render_report(data));
  } catch (const std::exception& error) {
    log::warning("no report: {}", error.what());  // how the job ended stands
  }
}

// A job goes on without it.
std::unique_ptr<StatusServer> serve_status(const JobConfig& job, const RunDirectory& run, const RankBoard& board) {
  const auto& logging = job.logging;
  if (!logging.status_port.is_auto() && logging.status_port.value() == 0) return nullptr;
  try {
    const StatusOptions options{logging.status_address, static_cast<int>(logging.status_port.value_or(0))};
    auto server = std::make_unique<StatusServer>(options, run, facts_of(job), board);
    log::info("status at {}, with /metrics, /healthz and /api/state; trident watch {}", server->url(),
              run.root().string());
    return server;
  } catch (const std::exception& error) {
    log::warning("no status server: {}; the job goes on", error.what());
    return nullptr;
  }
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
  RankBoard board;
  plan.coordinator.publish = [&board](const GangState& gang, int64_t epoch) { board.publish(gang, epoch); };
  const JobConfig decided = job;
  Coordinator coordinator(std::move(plan.coordinator), folder, *nodes);
  auto server = serve_status(decided, folder, board);
  const int code = coordinator.run();
  server.reset();
  tell_end(folder);
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
