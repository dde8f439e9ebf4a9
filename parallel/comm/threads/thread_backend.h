#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "parallel/comm/shared_group.h"
#include "parallel/comm/threads/mailbox.h"

namespace trident {

/// What the threads of one group share.
class ThreadGroup {
 public:
  /// `places` and `world_ranks` by rank of this group; `world` is null for the world itself. With `private_memory`
  /// only what allocate_shared() gives is in reach of the other threads.
  ThreadGroup(std::vector<RankPlace> places, std::vector<int> world_ranks, std::shared_ptr<ThreadGroup> world,
              bool private_memory);

  [[nodiscard]] int size() const { return static_cast<int>(places_.size()); }
  [[nodiscard]] const RankPlace& place(int rank) const { return places_[static_cast<size_t>(rank)]; }
  [[nodiscard]] Mailbox& mailbox(int rank) { return mailboxes_[static_cast<size_t>(rank)]; }
  [[nodiscard]] AbortBoard& board() { return world_ ? world_->board() : board_; }
  [[nodiscard]] SharedGroup end(int rank);
  std::shared_ptr<Buffer> allocate_shared(size_t bytes);

  /// The group that split number `id` makes of `members`; the first of them to come creates it.
  std::shared_ptr<ThreadGroup> subgroup(const std::shared_ptr<ThreadGroup>& self, std::span<const int> members,
                                        uint64_t id);

 private:
  /// Threads see one another's memory as it is.
  class SameSpace final : public AddressSpace {
   public:
    explicit SameSpace(bool private_memory) : private_memory_(private_memory) {}
    [[nodiscard]] bool private_memory() const { return private_memory_; }
    void add(const std::shared_ptr<Buffer>& buffer);
    [[nodiscard]] uint64_t publish(const std::byte* data, size_t bytes) const override;
    [[nodiscard]] std::byte* resolve(uint64_t word, int peer) const override;

   private:
    [[nodiscard]] bool in_reach(const std::byte* data, size_t bytes) const;
    const bool private_memory_;
    mutable std::mutex mutex_;
    std::vector<std::weak_ptr<Buffer>> shared_;  // used with private memory only
  };

  std::vector<RankPlace> places_;
  std::vector<int> world_ranks_;
  std::shared_ptr<ThreadGroup> world_;
  std::vector<Mailbox> mailboxes_;
  std::shared_ptr<Buffer> memory_;  // control, then every rank's stages
  SameSpace space_;
  AbortBoard board_;
  std::mutex mutex_;
  std::map<std::pair<uint64_t, int>, std::weak_ptr<ThreadGroup>> subgroups_;  // by split and first member
};

/// Receives that a rank has started and that have got no message yet, oldest first.
struct PostedReceive {
  int from = 0;
  int tag = 0;
  const Operation* owner = nullptr;
};
using PostedReceives = std::vector<PostedReceive>;

class ThreadBackend final : public CommBackend {
 public:
  ThreadBackend(std::shared_ptr<ThreadGroup> shared, int rank);

  [[nodiscard]] int rank() const override { return group_.rank(); }
  [[nodiscard]] int size() const override { return group_.size(); }
  [[nodiscard]] const RankPlace& place(int rank) const override { return shared_->place(rank); }
  void announce(uint64_t sequence, const CallSignature& signature) override { group_.announce(sequence, signature); }
  std::unique_ptr<Operation> start(const CollectiveCall& call) override { return group_.start(call); }
  std::unique_ptr<Operation> start_send(const PeerMessage& message) override;
  std::unique_ptr<Operation> start_recv(const PeerMessage& message) override;
  std::shared_ptr<CommBackend> split(std::span<const int> members, uint64_t id) override;
  std::shared_ptr<Buffer> allocate_shared(size_t bytes) override;
  void configure(const std::string& name, bool compare_history) override { group_.configure(name, compare_history); }
  void give_up(const std::string& reason) override { group_.give_up(reason); }
  void throw_if_given_up() const override { group_.throw_if_given_up(); }

 private:
  std::shared_ptr<ThreadGroup> shared_;
  SharedGroup group_;
  std::shared_ptr<PostedReceives> posted_ = std::make_shared<PostedReceives>();
};

}  // namespace trident
