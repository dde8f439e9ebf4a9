#include "parallel/comm/threads/mailbox.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "core/error.h"

namespace trident {

void Mailbox::offer(const std::shared_ptr<Letter>& letter) {
  const std::lock_guard lock(mutex_);
  letters_.push_back(letter);
}

void Mailbox::withdraw(const std::shared_ptr<Letter>& letter) {
  const std::lock_guard lock(mutex_);
  letters_.remove(letter);
}

bool Mailbox::take(const PeerMessage& message) {
  const std::lock_guard lock(mutex_);
  const auto found = std::find_if(letters_.begin(), letters_.end(), [&](const auto& letter) {
    return letter->from == message.peer && letter->tag == message.tag;
  });
  if (found == letters_.end()) return false;
  const auto letter = *found;
  letters_.erase(found);
  if (letter->bytes != message.bytes) {
    letter->state.store(Mailbox::State::wrong_size, std::memory_order_release);
    throw Error(ErrorCode::internal, "parallel/comm",
                fmt::format("message from rank {} with tag {} has {} bytes, expected {}", message.peer, message.tag,
                            letter->bytes, message.bytes));
  }
  if (message.bytes > 0) std::memcpy(message.data, letter->data, message.bytes);
  letter->state.store(Mailbox::State::taken, std::memory_order_release);
  return true;
}

}  // namespace trident
