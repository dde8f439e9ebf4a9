#pragma once

#include "parallel/comm/backend.h"

namespace trident {

/// A place in a group that exists on paper only. Tensors on the meta device never come to a back end; everything else
/// is a broken invariant.
class MetaBackend final : public CommBackend {
 public:
  MetaBackend(int rank, int size) : rank_(rank), size_(size) {}

  [[nodiscard]] int rank() const override { return rank_; }
  [[nodiscard]] int size() const override { return size_; }
  [[nodiscard]] const RankPlace& place(int rank) const override;
  void announce(uint64_t sequence, const CallSignature& signature) override;
  std::unique_ptr<Operation> start(const CollectiveCall& call) override;
  std::unique_ptr<Operation> start_send(const PeerMessage& message) override;
  std::unique_ptr<Operation> start_recv(const PeerMessage& message) override;
  std::shared_ptr<CommBackend> split(std::span<const int> members, uint64_t id) override;
  std::shared_ptr<Buffer> allocate_shared(size_t bytes) override;
  void configure(const std::string& name, bool compare_history) override;
  void give_up(const std::string& reason) override;
  void throw_if_given_up() const override {}

 private:
  int rank_;
  int size_;
  RankPlace place_{"meta", 0};
};

}  // namespace trident
