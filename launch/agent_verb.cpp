#include <fcntl.h>
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <limits>
#include <memory>

#include "core/error.h"
#include "core/log.h"
#include "launch/agent_service.h"
#include "launch/exit.h"
#include "launch/janitor.h"
#include "launch/launch_options.h"
#include "launch/node_lock.h"
#include "launch/run_lock.h"
#include "launch/status/job_status.h"
#include "launch/verbs.h"
#include "train/metrics/run_directory.h"

namespace trident {
namespace {

struct AgentArguments {
  LaunchArguments launch;
  uint32_t node = 0;
  std::string coordinator;
  uint16_t port = 0;
};

/// The remote shell waits until the agent is at work, and passes on what it says until then.
class Detachment {
 public:
  /// Returns in a process of its own.
  Detachment() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw system_error(errno, "launch/agent", "cannot make a pipe");
    UniqueDescriptor read_end(ends[0]);
    done_ = UniqueDescriptor(ends[1]);
    const pid_t child = ::fork();
    if (child < 0) throw system_error(errno, "launch/agent", "cannot fork");
    if (child == 0) {
      setsid();
      return;
    }
    done_.reset();
    char word = 0;
    if (::read(read_end.get(), &word, 1) == 1) std::_Exit(0);
    int status = 0;
    (void)::waitpid(child, &status, 0);
    std::_Exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
  }

  /// What this process says goes to `log` from now on.
  void complete(const std::string& log) {
    const UniqueDescriptor nothing(::open("/dev/null", O_RDWR | O_CLOEXEC));
    const UniqueDescriptor file(::open(log.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644));
    if (!file.is_open()) throw system_error(errno, "launch/agent", "cannot open " + log);
    (void)::dup2(nothing.get(), STDIN_FILENO);
    (void)::dup2(file.get(), STDOUT_FILENO);
    (void)::dup2(file.get(), STDERR_FILENO);
    const char word = 'x';
    if (::write(done_.get(), &word, 1) == 1) done_.reset();
  }

 private:
  UniqueDescriptor done_;
};

// This node's agent was elected to coordinate from here on.
int coordinate(LaunchPlan plan, const AgentArguments& arguments, Agent& agent, AgentService& service,
               const JobSecret& secret) {
  const int64_t epoch = service.peers().elected().value();
  const NodeView view = service.view();
  const std::string lost = plan.hosts.at(view.coordinator).name;
  log::warning("the coordinator on {} is lost: this node takes its place from epoch {} on", lost, epoch);
  agent.extend_lease(std::numeric_limits<int64_t>::max());
  const NodePeer self = service.peers().self();
  Nodes nodes(agent,
              ClusterOptions{.hosts = plan.hosts,
                             .self = arguments.node,
                             .remote_shell = arguments.launch.remote_shell,
                             .agent_command = plan.agent_command,
                             .times = plan.times},
              secret, service.peers().take_listener(), self.address);
  nodes.gather_voters(view, epoch);
  const JobConfig& job = plan.coordinator.job;
  const RunDirectory folder(job.run.dir, job.run.name);
  const RunLock lock(folder, std::chrono::duration_cast<std::chrono::milliseconds>(plan.times.timeout));
  plan.coordinator.least_epoch = epoch;
  plan.coordinator.replaced = {
      lost, "node " + lost + ", which coordinated, is lost",
      "most nodes do not hear it; " + self.host + " coordinates from epoch " + std::to_string(epoch) + " on"};
  JobStatus status(job, folder);
  plan.coordinator.publish = [&status](const GangState& gang, int64_t of) { status.board().publish(gang, of); };
  Coordinator coordinator(std::move(plan.coordinator), folder, nodes);
  status.serve();
  const int code = coordinator.run();
  status.finish();
  return code;
}

int run(const AgentArguments& arguments) {
  const JobSecret secret = JobSecret::receive(STDIN_FILENO);
  LaunchPlan plan = plan_launch(arguments.launch);
  const JobConfig& job = plan.coordinator.job;
  const RunDirectory folder(job.run.dir, job.run.name);
  if (!folder.exists())
    throw Error(ErrorCode::input_missing, "launch/agent", folder.root().string() + " is not there on " + host_name(),
                "run.dir must be a folder that all nodes share, under the same name");
  const std::string host = plan.hosts.at(arguments.node).name;
  Detachment detachment;
  const JobPlace place(folder.root());
  const NodeLock node_lock(place);
  const Janitor janitor(place);
  Agent agent(place);
  detachment.complete((folder.logs() / ("agent_" + host + ".log")).string());
  AgentService service(agent, node_lock, {arguments.node, host, arguments.coordinator, arguments.port, plan.times},
                       secret);
  const AgentEnd end = service.run();
  if (end == AgentEnd::elected) return coordinate(std::move(plan), arguments, agent, service, secret);
  if (end == AgentEnd::released) return 0;
  log::error(
      "the coordinator is lost, and nobody takes its place: this node's ranks have been killed; start the same "
      "`trident launch` again");
  return static_cast<int>(ErrorCode::peer_lost);
}

}  // namespace

void add_agent(CLI::App& program, Action& action) {
  auto arguments = std::make_shared<AgentArguments>();
  CLI::App* verb = program.add_subcommand("agent", "Watch a node's ranks for `trident launch`, which starts it");
  verb->group("");  // not for users
  add_launch_options(*verb, arguments->launch);
  verb->add_option("--node", arguments->node, "Its number in the hostfile, from 0")->required();
  verb->add_option("--coordinator", arguments->coordinator, "Where the coordinator listens")->required();
  verb->add_option("--port", arguments->port)->required();
  verb->callback([&action, arguments] { action = [arguments] { return run(*arguments); }; });
}

}  // namespace trident
