#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace trident {

/// What an agent tells the processes that it starts, in their environment.
struct Supervision {
  std::string socket;      ///< of the agent
  std::string heartbeats;  ///< name of the shared memory
  int64_t epoch = 0;

  /// Nothing where no agent started this process. Throws Error(config) where the variables make no sense.
  [[nodiscard]] static std::optional<Supervision> detect();
};

/// What a guardian says to its agent, one packet each.
struct GuardianMessage {
  enum class Kind : uint32_t { started = 1, ended = 2 };
  static constexpr uint32_t kMagic = 0x31475254;
  uint32_t magic = kMagic;
  Kind kind = Kind::started;
  int32_t rank = 0;
  int32_t worker = 0;  ///< process id
  int32_t wait_status = 0;
  int32_t zero = 0;
  int64_t epoch = 0;
};

/// Splits this process in two: the worker, to which the call returns, and its guardian, which never comes back. The
/// guardian tells the agent how the worker ends, which only a parent learns, and keeps the worker from outliving agent
/// or launcher: it kills it when the agent's socket closes, and the kernel kills both when the launcher dies, stopped
/// ones too. Called before the process has other threads. Throws Error(peer_lost) where there is no agent.
void split_off_guardian(const Supervision& supervision, int rank);

}  // namespace trident
