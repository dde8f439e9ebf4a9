#pragma once

#include <atomic>
#include <list>
#include <memory>
#include <mutex>

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
  /// Receives the oldest fitting message; false if there is none. Throws Error if its size is not `message.bytes`.
  bool take(const PeerMessage& message);

 private:
  std::mutex mutex_;
  std::list<std::shared_ptr<Letter>> letters_;
};

}  // namespace trident
