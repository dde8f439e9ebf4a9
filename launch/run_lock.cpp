#include "launch/run_lock.h"

#include <fcntl.h>
#include <sys/file.h>

#include <cerrno>
#include <thread>

#include "core/error.h"
#include "core/log.h"

namespace trident {
namespace {

UniqueDescriptor open_lock(const RunDirectory& run) {
  return UniqueDescriptor(::open(run.agent_lock().c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
}

}  // namespace

RunLock::RunLock(const RunDirectory& run) : file_(open_lock(run)) {
  if (take()) return;
  throw system_error(errno, "launch", "another agent runs " + run.root().string(),
                     "wait for it, or give this run another run.name");
}

RunLock::RunLock(const RunDirectory& run, std::chrono::milliseconds most) : file_(open_lock(run)) {
  const auto deadline = std::chrono::steady_clock::now() + most;
  while (!take()) {
    if (std::chrono::steady_clock::now() > deadline) {
      log::warning("{} is still locked; most nodes have agreed on this one, which goes on", run.agent_lock().string());
      return;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

bool RunLock::take() { return file_.is_open() && ::flock(file_.get(), LOCK_EX | LOCK_NB) == 0; }

}  // namespace trident
