#include "launch/gang_state.h"

#include <sys/wait.h>

namespace trident {

using State = RankRecord::State;

// Where others are not at their end, a rank that was done ends with an error after all.
bool RankState::ended_well() const {
  if (record.state != State::finished) return false;
  return !ended || (WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == record.exit_code);
}

int RankState::error() const {
  if (record.state == State::failed) return record.exit_code;
  const bool done = record.state == State::finished && ended && WIFEXITED(wait_status);
  return done ? WEXITSTATUS(wait_status) : 0;
}

}  // namespace trident
