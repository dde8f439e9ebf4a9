#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "launch/unique_descriptor.h"

namespace trident {

struct ChildOptions {
  std::vector<std::string> words;                         ///< the program, looked for on PATH, and its arguments
  std::optional<std::vector<std::string>> environment{};  ///< NAME=value; nothing: this process's own
  int input = -1;                                         ///< its standard input; -1: there is none
  int kept = -1;                                          ///< a further descriptor that it gets under the same number
  bool dies_with_parent = false;
};

/// Another program, in a session of its own: a terminal's Ctrl-C does not reach it.
class ChildProcess {
 public:
  /// `component` stands in the Error(io) that is thrown where no process can be made. A program that is not there ends
  /// with exit code 127.
  ChildProcess(ChildOptions options, const char* component);
  /// Kills it.
  ~ChildProcess() { kill(); }
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  /// How it ended, as waitpid() tells it.
  [[nodiscard]] std::optional<int> status();
  /// Readable once it has ended; -1 afterwards.
  [[nodiscard]] int descriptor() const { return status_ ? -1 : process_.get(); }
  /// SIGKILL to it and its process group.
  void kill();

 private:
  void reap(int flags);

  pid_t pid_ = -1;
  UniqueDescriptor process_;
  std::optional<int> status_;
};

}  // namespace trident
