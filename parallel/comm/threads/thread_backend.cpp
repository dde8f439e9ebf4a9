#include "parallel/comm/threads/thread_backend.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>

#include "core/allocator.h"
#include "core/error.h"

namespace trident {
namespace {

constexpr size_t kChunkBytes = SharedGroup::kInlineBytes;

size_t aligned(size_t bytes) { return (bytes + 63) / 64 * 64; }

void throw_if_given_up(const AbortBoard& board) {
  const auto reason = board.reason();
  if (reason) throw Error(ErrorCode::peer_lost, "parallel/comm", "another rank gave up: " + *reason);
}

class ThreadSend final : public Operation {
 public:
  ThreadSend(std::shared_ptr<ThreadGroup> group, int from, const PeerMessage& message)
      : group_(std::move(group)), letter_(std::make_shared<Mailbox::Letter>()), to_(message.peer) {
    letter_->from = from;
    letter_->tag = message.tag;
    letter_->data = message.data;
    letter_->bytes = message.bytes;
    group_->mailbox(to_).offer(letter_);
  }
  ~ThreadSend() override { group_->mailbox(to_).withdraw(letter_); }
  ThreadSend(const ThreadSend&) = delete;
  ThreadSend& operator=(const ThreadSend&) = delete;

  bool advance() override {
    const auto state = letter_->state.load(std::memory_order_acquire);
    if (state == Mailbox::State::taken) return true;
    if (state == Mailbox::State::wrong_size) {
      throw Error(ErrorCode::internal, "parallel/comm",
                  fmt::format("rank {} expected a message of another size than {} bytes", to_, letter_->bytes));
    }
    throw_if_given_up(group_->board());
    return false;
  }
  [[nodiscard]] std::string waiting_for() const override { return fmt::format("rank {} has not received it", to_); }

 private:
  std::shared_ptr<ThreadGroup> group_;
  std::shared_ptr<Mailbox::Letter> letter_;
  int to_;
};

class ThreadRecv final : public Operation {
 public:
  ThreadRecv(std::shared_ptr<ThreadGroup> group, int to, const PeerMessage& message,
             std::shared_ptr<PostedReceives> posted)
      : group_(std::move(group)), to_(to), message_(message), posted_(std::move(posted)) {
    posted_->push_back({message.peer, message.tag, this});
  }
  ~ThreadRecv() override {
    std::erase_if(*posted_, [&](const PostedReceive& receive) { return receive.owner == this; });
  }
  ThreadRecv(const ThreadRecv&) = delete;
  ThreadRecv& operator=(const ThreadRecv&) = delete;

  bool advance() override {
    if (is_oldest() && group_->mailbox(to_).take(message_)) return true;
    throw_if_given_up(group_->board());
    return false;
  }
  [[nodiscard]] std::string waiting_for() const override {
    return fmt::format("rank {} has not sent it", message_.peer);
  }

 private:
  // A message belongs to the first receive that was started for it, not to the first that looks.
  [[nodiscard]] bool is_oldest() const {
    const auto fits = [&](const PostedReceive& receive) {
      return receive.from == message_.peer && receive.tag == message_.tag;
    };
    return std::find_if(posted_->begin(), posted_->end(), fits)->owner == this;
  }

  std::shared_ptr<ThreadGroup> group_;
  int to_;
  PeerMessage message_;
  std::shared_ptr<PostedReceives> posted_;
};

}  // namespace

void ThreadGroup::SameSpace::add(const std::shared_ptr<Buffer>& buffer) {
  if (!private_memory_) return;
  const std::lock_guard lock(mutex_);
  shared_.push_back(buffer);
}

bool ThreadGroup::SameSpace::in_reach(const std::byte* data, size_t bytes) const {
  if (!private_memory_) return true;
  const std::lock_guard lock(mutex_);
  return std::any_of(shared_.begin(), shared_.end(), [&](const auto& weak) {
    const auto buffer = weak.lock();
    const auto* base = buffer ? static_cast<const std::byte*>(buffer->data()) : nullptr;
    return base != nullptr && data >= base && data + bytes <= base + buffer->bytes();
  });
}

uint64_t ThreadGroup::SameSpace::publish(const std::byte* data, size_t bytes) const {
  if (!in_reach(data, bytes)) return kPrivate;
  return uint64_t{1} << 48 | reinterpret_cast<uint64_t>(data);
}

std::byte* ThreadGroup::SameSpace::resolve(uint64_t word, int /*peer*/) const {
  return reinterpret_cast<std::byte*>(word & ((uint64_t{1} << 48) - 1));  // NOLINT(performance-no-int-to-ptr)
}

ThreadGroup::ThreadGroup(std::vector<RankPlace> places, std::vector<int> world_ranks,
                         std::shared_ptr<ThreadGroup> world, bool private_memory)
    : places_(std::move(places)),
      world_ranks_(std::move(world_ranks)),
      world_(std::move(world)),
      mailboxes_(places_.size()),
      space_(private_memory) {
  const size_t control = aligned(SharedGroup::control_bytes(size()));
  memory_ = map_memory(control + static_cast<size_t>(size()) * SharedGroup::kStages * kChunkBytes);
  SharedGroup::construct(static_cast<std::byte*>(memory_->data()), size());
}

SharedGroup ThreadGroup::end(int rank) {
  SharedGroup::Memory memory;
  auto* base = static_cast<std::byte*>(memory_->data());
  SharedGroup::attach(base, size(), memory);
  base += aligned(SharedGroup::control_bytes(size()));
  std::vector<std::string> names;
  for (int peer = 0; peer < size(); ++peer) {
    memory.stages.push_back(base + static_cast<size_t>(peer) * SharedGroup::kStages * kChunkBytes);
    const int world_rank = world_ranks_[static_cast<size_t>(peer)];
    names.push_back(world_rank == peer ? fmt::format("rank {}", peer)
                                       : fmt::format("rank {} (world rank {})", peer, world_rank));
  }
  memory.chunk_bytes = kChunkBytes;
  memory.board = &board();
  memory.space = &space_;
  return {rank, std::move(names), std::move(memory)};
}

std::shared_ptr<ThreadGroup> ThreadGroup::subgroup(const std::shared_ptr<ThreadGroup>& self,
                                                   std::span<const int> members, uint64_t id) {
  const std::lock_guard lock(mutex_);
  auto& known = subgroups_[{id, members.front()}];
  if (auto group = known.lock()) return group;
  std::vector<RankPlace> places;
  std::vector<int> world_ranks;
  for (const int member : members) {
    places.push_back(place(member));
    world_ranks.push_back(world_ranks_[static_cast<size_t>(member)]);
  }
  auto group = std::make_shared<ThreadGroup>(std::move(places), std::move(world_ranks), world_ ? world_ : self,
                                             space_.private_memory());
  known = group;
  return group;
}

ThreadBackend::ThreadBackend(std::shared_ptr<ThreadGroup> shared, int rank)
    : shared_(std::move(shared)), group_(shared_->end(rank)) {}

std::unique_ptr<Operation> ThreadBackend::start_send(const PeerMessage& message) {
  return std::make_unique<ThreadSend>(shared_, rank(), message);
}

std::unique_ptr<Operation> ThreadBackend::start_recv(const PeerMessage& message) {
  return std::make_unique<ThreadRecv>(shared_, rank(), message, posted_);
}

std::shared_ptr<CommBackend> ThreadBackend::split(std::span<const int> members, uint64_t id) {
  if (members.size() < 2) return nullptr;
  const auto me = std::find(members.begin(), members.end(), rank());
  return std::make_shared<ThreadBackend>(shared_->subgroup(shared_, members, id),
                                         static_cast<int>(me - members.begin()));
}

std::shared_ptr<Buffer> ThreadGroup::allocate_shared(size_t bytes) {
  auto buffer = map_memory(bytes);
  space_.add(buffer);
  return buffer;
}

std::shared_ptr<Buffer> ThreadBackend::allocate_shared(size_t bytes) { return shared_->allocate_shared(bytes); }

}  // namespace trident
