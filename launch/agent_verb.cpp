#include <fcntl.h>
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <memory>

#include "core/error.h"
#include "launch/launch_options.h"
#include "launch/serve_node.h"
#include "launch/unique_descriptor.h"
#include "launch/verbs.h"

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

int run(const AgentArguments& arguments) {
  const NodeTask task{arguments.node, arguments.coordinator, arguments.port, JobSecret::receive(STDIN_FILENO)};
  LaunchPlan plan = plan_launch(arguments.launch);
  const auto log = shared_folder(plan).logs() / ("agent_" + plan.hosts.at(task.node).name + ".log");
  Detachment detachment;
  return serve_node(std::move(plan), task, [&] { detachment.complete(log.string()); });
}

}  // namespace

void add_agent(Verb& program, Action& action) {
  auto arguments = std::make_shared<AgentArguments>();
  Verb verb = program.add_verb("agent", "Watch a node's ranks for `trident launch`, which starts it");
  verb.hide();  // not for users
  add_launch_options(verb, arguments->launch);
  verb.add_option("--node", arguments->node, "Its number in the hostfile, from 0").required();
  verb.add_option("--coordinator", arguments->coordinator, "Where the coordinator listens").required();
  verb.add_option("--port", arguments->port).required();
  verb.add_flag("--scheduled", arguments->launch.scheduled, "The faults are those of a schedule");
  verb.on_parsed([&action, arguments] { action = [arguments] { return run(*arguments); }; });
}

}  // namespace trident
