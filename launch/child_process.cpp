#include "launch/child_process.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>

#include "core/error.h"
#include "launch/process_handle.h"

extern char** environ;  // NOLINT(readability-redundant-declaration)

namespace trident {
namespace {

std::vector<char*> c_strings(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  pointers.reserve(texts.size() + 1);
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

}  // namespace

ChildProcess::ChildProcess(ChildOptions options, const char* component) {
  const std::vector<char*> argv = c_strings(options.words);
  std::vector<char*> own;
  if (options.environment) own = c_strings(*options.environment);
  char* const* envp = options.environment ? own.data() : environ;
  const UniqueDescriptor nothing(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const int input = options.input < 0 ? nothing.get() : options.input;
  const pid_t parent = getpid();
  pid_ = ::fork();
  if (pid_ < 0) throw system_error(errno, component, "cannot fork");
  if (pid_ == 0) {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    if (options.dies_with_parent) prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)::dup2(input, STDIN_FILENO);
    if (options.kept >= 0) (void)::fcntl(options.kept, F_SETFD, 0);
    const bool orphan = options.dies_with_parent && getppid() != parent;
    if (!orphan && setsid() > 0) execvpe(argv[0], argv.data(), envp);
    std::_Exit(127);
  }
  process_ = open_process(pid_);
}

std::optional<int> ChildProcess::status() {
  reap(WNOHANG);
  return status_;
}

void ChildProcess::reap(int flags) {
  int status = 0;
  if (!status_ && ::waitpid(pid_, &status, flags) == pid_) status_ = status;
}

void ChildProcess::kill() {
  if (status_) return;
  (void)::kill(-pid_, SIGKILL);
  (void)::kill(pid_, SIGKILL);
  reap(0);
}

}  // namespace trident
