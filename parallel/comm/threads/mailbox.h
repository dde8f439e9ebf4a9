#pragma once

#include <atomic>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

#include "parallel/comm/backend.h"

namespace trident {

/// Messages to one rank that nobody has received yet. The receiver copies straight from the sender's buffer.
class Mailbox {
 public:
  enum class State { offered, taken, wrong_size };
  struct Letter {
    int from = 0;
    int tag = 0;
    const std::byte* data = nullptr;
    size_t bytes = 0;
    std::atomic<State> state{State::offered};
  };

  void offer(const std::shared_ptr<Letter>& letter);
  /// Takes an offer back if it is still there: the sender's buffer is going away.
  void withdraw(const std::shared_ptr<Letter>& letter);
  /// The turn of a receive that starts now among those of the same sender and tag: messages go to receives in the order
  /// in which these started.
  uint64_t queue(const PeerMessage& message);
  /// Receives the oldest fitting message if it is that turn's; false if there is none or it belongs to an earlier one.
  /// Throws Error if its size is not `message.bytes`.
  bool take(const PeerMessage& message, uint64_t turn);

 private:
  struct Turns {
    uint64_t queued = 0;
    uint64_t served = 0;
  };
  using Source = std::pair<int, int>;  // sender and tag

  std::mutex mutex_;
  std::map<Source, Turns> turns_;
  std::list<std::shared_ptr<Letter>> letters_;
};

}  // namespace trident
