#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "launch/unique_descriptor.h"
#include "launch/wire/secret.h"

namespace trident {

/// A program that a remote shell is starting on another host. The shell ends once it runs there.
class RemoteStart {
 public:
  /// Runs `SHELL HOST COMMAND`, where the command is `words`, quoted, in this process's working directory; the secret
  /// is the standard input. Throws Error(io) where no process can be made.
  RemoteStart(const std::string& shell, const std::string& host, const std::vector<std::string>& words,
              const JobSecret& secret);
  /// Kills a shell that still waits.
  ~RemoteStart();
  RemoteStart(const RemoteStart&) = delete;
  RemoteStart& operator=(const RemoteStart&) = delete;

  /// The shell's exit code once it has ended; 0: the program runs.
  [[nodiscard]] std::optional<int> status();
  [[nodiscard]] int descriptor() const { return process_.get(); }

 private:
  pid_t pid_ = -1;
  UniqueDescriptor process_;
  std::optional<int> status_;
};

}  // namespace trident
