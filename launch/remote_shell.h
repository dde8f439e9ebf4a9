#pragma once

#include <optional>
#include <string>
#include <vector>

#include "launch/child_process.h"
#include "launch/wire/secret.h"

namespace trident {

/// A program that a remote shell is starting on another host. The shell ends once it runs there.
class RemoteStart {
 public:
  /// Runs `SHELL HOST COMMAND`, where the command is `words`, quoted, in this process's working directory; the secret
  /// is the standard input. Throws Error(io) where no process can be made.
  RemoteStart(const std::string& shell, const std::string& host, const std::vector<std::string>& words,
              const JobSecret& secret);

  /// The shell's exit code once it has ended; 0: the program runs.
  [[nodiscard]] std::optional<int> status();
  [[nodiscard]] int descriptor() const { return shell_->descriptor(); }

 private:
  std::optional<ChildProcess> shell_;  // killed where it still waits
};

}  // namespace trident
