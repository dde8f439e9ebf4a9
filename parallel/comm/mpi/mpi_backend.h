#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "parallel/comm/mpi/message_group.h"
#include "parallel/comm/mpi/mpi_comm.h"
#include "parallel/comm/mpi/shared_segment.h"
#include "parallel/comm/shared_group.h"

namespace trident {

/// One rank's end of a group of processes.
///
/// All ranks on one node: everything happens in shared memory. Several nodes with equally many ranks each: within the
/// node in shared memory, and between nodes each rank with those of the same place in their node, so that every rank
/// carries its share of what crosses. Nodes of different sizes: by messages among all ranks.
class MpiBackend final : public CommBackend {
 public:
  /// All of `comm`. Collective over it.
  static std::shared_ptr<MpiBackend> world(MpiComm comm, int ranks_per_node);
  /// `places` and `world_ranks` by rank of `comm`; `board` is the world's, null for the world itself.
  MpiBackend(MpiComm comm, std::vector<RankPlace> places, std::vector<int> world_ranks,
             std::shared_ptr<AbortBoard> board);

  [[nodiscard]] int rank() const override { return rank_; }
  [[nodiscard]] int size() const override { return static_cast<int>(places_.size()); }
  [[nodiscard]] const RankPlace& place(int rank) const override { return places_[static_cast<size_t>(rank)]; }
  void announce(uint64_t sequence, const CallSignature& signature) override;
  std::unique_ptr<Operation> start(const CollectiveCall& call) override;
  std::unique_ptr<Operation> start_send(const PeerMessage& message) override;
  std::unique_ptr<Operation> start_recv(const PeerMessage& message) override;
  std::shared_ptr<CommBackend> split(std::span<const int> members, uint64_t id) override;
  std::shared_ptr<Buffer> allocate_shared(size_t bytes) override;
  void configure(const std::string& name, bool compare_history) override;
  void give_up(const std::string& reason) override;
  void throw_if_given_up() const override;

 private:
  using Steps = std::vector<SequenceOperation::Make>;

  void find_nodes();
  void join_node(std::shared_ptr<AbortBoard> board);
  [[nodiscard]] std::vector<std::string> names_of(const std::vector<int>& ranks) const;
  [[nodiscard]] bool one_node() const { return nodes_.size() == 1; }
  [[nodiscard]] int local_size() const { return static_cast<int>(nodes_.front().size()); }

  // Calls that cross nodes.
  std::unique_ptr<Operation> in_node(CollectiveCall call);
  [[nodiscard]] Steps across_nodes(const CollectiveCall& call);
  [[nodiscard]] Steps all_reduce(const CollectiveCall& call);
  [[nodiscard]] Steps reduce_scatter(const CollectiveCall& call);
  [[nodiscard]] Steps all_gather(const CollectiveCall& call);
  [[nodiscard]] Steps broadcast(const CollectiveCall& call);
  [[nodiscard]] Steps barrier(const CollectiveCall& call);
  void add_history_check(Steps& steps, uint64_t sequence);

  MpiComm comm_;      // to split
  MpiComm messages_;  // send and recv
  std::vector<RankPlace> places_;
  std::vector<int> world_ranks_;
  int rank_;
  std::string name_;
  bool compare_history_ = false;

  std::vector<std::vector<int>> nodes_;  // the ranks of each node
  bool regular_ = true;                  // equally many ranks on every node
  int node_ = 0;                         // this rank's, in nodes_
  int local_ = 0;                        // this rank's place in its node
  MpiComm node_comm_;
  std::shared_ptr<SharedSegment> segment_;  // control, stages and, for the world, the board
  std::unique_ptr<SegmentSpace> space_;
  std::shared_ptr<AbortBoard> board_;
  std::optional<SharedGroup> shared_;  // the ranks of this node, if there are several
  uint64_t node_calls_ = 0;            // sequence number within shared_, where calls cross nodes
  MessageGroup peers_;                 // the ranks of the same place in their nodes
  MessageGroup everyone_;
  std::unique_ptr<CollectiveTrace> trace_;  // where calls cross nodes
};

}  // namespace trident
