#include "launch/remote_shell.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>

#include "core/error.h"
#include "train/config/shell_word.h"

namespace trident {
namespace {

constexpr const char* kComponent = "launch/remote_shell";

}  // namespace

RemoteStart::RemoteStart(const std::string& shell, const std::string& host, const std::vector<std::string>& words,
                         const JobSecret& secret) {
  std::string command = "cd " + shell_word(std::filesystem::current_path().string()) + " && exec";
  for (const std::string& word : words) command += " " + shell_word(word);
  // The local shell splits the remote shell's words, and hands the command on as one.
  const std::string line = "exec " + shell + " \"$0\" \"$1\"";
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw system_error(errno, kComponent, "cannot make a pipe");
  const UniqueDescriptor read_end(ends[0]), write_end(ends[1]);
  shell_.emplace(ChildOptions{.words = {"/bin/sh", "-c", line, host, command}, .input = read_end.get()}, kComponent);
  secret.send(write_end.get());  // a line fits into a pipe
}

std::optional<int> RemoteStart::status() {
  const auto status = shell_->status();
  if (!status) return std::nullopt;
  return WIFEXITED(*status) ? WEXITSTATUS(*status) : 128 + WTERMSIG(*status);
}

}  // namespace trident
