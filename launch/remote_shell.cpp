#include "launch/remote_shell.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>

#include "core/error.h"
#include "launch/process_handle.h"
#include "train/config/shell_word.h"

namespace trident {

RemoteStart::RemoteStart(const std::string& shell, const std::string& host, const std::vector<std::string>& words,
                         const JobSecret& secret) {
  std::string command = "cd " + shell_word(std::filesystem::current_path().string()) + " && exec";
  for (const std::string& word : words) command += " " + shell_word(word);
  // The local shell splits the remote shell's words, and hands the command on as one.
  const std::string line = "exec " + shell + " \"$0\" \"$1\"";
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw system_error(errno, "launch/remote_shell", "cannot make a pipe");
  const UniqueDescriptor read_end(ends[0]), write_end(ends[1]);
  pid_ = ::fork();
  if (pid_ < 0) throw system_error(errno, "launch/remote_shell", "cannot fork");
  if (pid_ == 0) {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    setsid();
    (void)::dup2(read_end.get(), STDIN_FILENO);
    execl("/bin/sh", "sh", "-c", line.c_str(), host.c_str(), command.c_str(), static_cast<char*>(nullptr));
    std::_Exit(127);
  }
  process_ = open_process(pid_);
  secret.send(write_end.get());  // a line fits into a pipe
}

RemoteStart::~RemoteStart() {
  if (status()) return;
  (void)::kill(-pid_, SIGKILL);
  (void)::kill(pid_, SIGKILL);
  (void)::waitpid(pid_, nullptr, 0);
}

std::optional<int> RemoteStart::status() {
  int status = 0;
  if (!status_ && ::waitpid(pid_, &status, WNOHANG) == pid_)
    status_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return status_;
}

}  // namespace trident
