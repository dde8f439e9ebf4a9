#include "parallel/comm/mpi/mpi_backend.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <map>
#include <new>
#include <numeric>
#include <utility>

#include "core/allocator.h"
#include "core/error.h"

namespace trident {
namespace {

// All ranks' stages fit into the cache: of 64 MiB in private memory 1 MiB chunks take an eighth longer.
constexpr size_t kChunkBytes = size_t{256} << 10;

size_t aligned(size_t bytes) { return (bytes + 63) / 64 * 64; }

std::vector<RankPlace> find_places(const MpiComm& comm, int ranks_per_node) {
  MPI_Comm raw = MPI_COMM_NULL;
  TRIDENT_MPI_CALL(MPI_Comm_split_type, comm.get(), MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &raw);
  const MpiComm machine(raw);
  // A node's number is the first world rank on it.
  int number = comm.rank();
  TRIDENT_MPI_CALL(MPI_Bcast, &number, 1, MPI_INT, 0, machine.get());
  if (ranks_per_node > 0) number = number * comm.size() + machine.rank() / ranks_per_node;

  struct Card {
    std::array<char, 256> host{};
    int node = 0;
  };
  Card mine;
  gethostname(mine.host.data(), mine.host.size() - 1);
  mine.node = number;
  std::vector<Card> cards(static_cast<size_t>(comm.size()));
  TRIDENT_MPI_CALL(MPI_Allgather, &mine, sizeof mine, MPI_BYTE, cards.data(), sizeof mine, MPI_BYTE, comm.get());

  std::map<int, int> renumbered;
  std::vector<RankPlace> places;
  for (const Card& card : cards) {
    const int node = renumbered.try_emplace(card.node, static_cast<int>(renumbered.size())).first->second;
    places.push_back({card.host.data(), node});
  }
  return places;
}

}  // namespace

std::shared_ptr<MpiBackend> MpiBackend::world(MpiComm comm, int ranks_per_node) {
  std::vector<RankPlace> places = find_places(comm, ranks_per_node);
  std::vector<int> world_ranks(places.size());
  std::iota(world_ranks.begin(), world_ranks.end(), 0);
  return std::make_shared<MpiBackend>(std::move(comm), std::move(places), std::move(world_ranks), nullptr);
}

MpiBackend::MpiBackend(MpiComm comm, std::vector<RankPlace> places, std::vector<int> world_ranks,
                       std::shared_ptr<AbortBoard> board)
    : comm_(std::move(comm)),
      messages_(comm_.duplicate()),
      places_(std::move(places)),
      world_ranks_(std::move(world_ranks)),
      rank_(comm_.rank()) {
  find_nodes();
  join_node(std::move(board));
  if (one_node()) return;
  trace_ = std::make_unique<CollectiveTrace>();
  std::vector<int> all(places_.size());
  std::iota(all.begin(), all.end(), 0);
  everyone_ = MessageGroup(comm_.duplicate(), names_of(all));
  if (!regular_) return;
  std::vector<int> peers;
  for (const auto& node : nodes_) peers.push_back(node[static_cast<size_t>(local_)]);
  peers_ = MessageGroup(comm_.split(local_, node_), names_of(peers));
}

void MpiBackend::find_nodes() {
  std::map<int, size_t> index;
  for (int rank = 0; rank < size(); ++rank) {
    const size_t node = index.try_emplace(place(rank).node, index.size()).first->second;
    if (node == nodes_.size()) nodes_.emplace_back();
    if (rank == rank_) {
      node_ = static_cast<int>(node);
      local_ = static_cast<int>(nodes_[node].size());
    }
    nodes_[node].push_back(rank);
  }
  regular_ =
      std::all_of(nodes_.begin(), nodes_.end(), [&](const auto& node) { return node.size() == nodes_.front().size(); });
}

std::vector<std::string> MpiBackend::names_of(const std::vector<int>& ranks) const {
  std::vector<std::string> names;
  for (const int rank : ranks) {
    const int world_rank = world_ranks_[static_cast<size_t>(rank)];
    names.push_back(world_rank == rank
                        ? fmt::format("rank {} on {}", rank, place(rank).host)
                        : fmt::format("rank {} (world rank {}) on {}", rank, world_rank, place(rank).host));
  }
  return names;
}

void MpiBackend::join_node(std::shared_ptr<AbortBoard> board) {
  const std::vector<int>& members = nodes_[static_cast<size_t>(node_)];
  const auto local_ranks = static_cast<int>(members.size());
  node_comm_ = comm_.split(node_, rank_);
  const size_t stages = SharedGroup::kStages * kChunkBytes;
  const size_t control = aligned(SharedGroup::control_bytes(local_ranks));
  segment_ = SharedSegment::create(node_comm_, stages + control + sizeof(AbortBoard));
  if (!segment_) {
    throw Error(
        ErrorCode::io, "parallel/comm",
        fmt::format("the ranks on {} cannot share memory ({} KiB each)", place(rank_).host, (stages + control) / 1024),
        "they must run as one user and see one another in /proc, with memory to spare");
  }
  std::byte* first = segment_->part(0) + stages;
  if (local_ == 0) {
    SharedGroup::construct(first, local_ranks);
    new (first + control) AbortBoard;
  }
  TRIDENT_MPI_CALL(MPI_Barrier, node_comm_.get());
  board_ = board ? std::move(board)
                 : std::shared_ptr<AbortBoard>(segment_, std::launder(reinterpret_cast<AbortBoard*>(first + control)));
  space_ = std::make_unique<SegmentSpace>(local_);
  if (local_ranks == 1) return;

  SharedGroup::Memory memory;
  SharedGroup::attach(first, local_ranks, memory);
  for (int peer = 0; peer < local_ranks; ++peer) memory.stages.push_back(segment_->part(peer));
  memory.chunk_bytes = kChunkBytes;
  memory.board = board_.get();
  memory.space = space_.get();
  shared_.emplace(local_, names_of(members), std::move(memory));
}

void MpiBackend::configure(const std::string& name, bool compare_history) {
  name_ = name;
  compare_history_ = compare_history;
  if (shared_) shared_->configure(name, compare_history);
}

void MpiBackend::give_up(const std::string& reason) {
  board_->post(fmt::format("world rank {}: {}", world_ranks_[static_cast<size_t>(rank_)], reason));
}

void MpiBackend::throw_if_given_up() const {
  const auto reason = board_->reason();
  if (reason) throw Error(ErrorCode::peer_lost, "parallel/comm", "another rank gave up: " + *reason);
}

void MpiBackend::announce(uint64_t sequence, const CallSignature& signature) {
  if (one_node()) {
    shared_->announce(sequence, signature);
  } else {
    trace_->record(sequence, signature);
  }
}

std::unique_ptr<Operation> MpiBackend::start(const CollectiveCall& call) {
  if (one_node()) return shared_->start(call);
  Steps steps;
  if (compare_history_) add_history_check(steps, call.sequence);
  for (auto& step : across_nodes(call)) steps.push_back(std::move(step));
  return std::make_unique<SequenceOperation>(std::move(steps));
}

std::unique_ptr<Operation> MpiBackend::start_send(const PeerMessage& message) {
  return std::make_unique<MessageOperation>(messages_, message, CollectiveOp::send);
}

std::unique_ptr<Operation> MpiBackend::start_recv(const PeerMessage& message) {
  return std::make_unique<MessageOperation>(messages_, message, CollectiveOp::recv);
}

std::shared_ptr<CommBackend> MpiBackend::split(std::span<const int> members, uint64_t /*id*/) {
  const auto me = std::find(members.begin(), members.end(), rank_);
  const bool joins = members.size() > 1;
  MpiComm comm = comm_.split(joins ? members.front() : -1, static_cast<int>(me - members.begin()));
  if (!joins) return nullptr;
  std::vector<RankPlace> places;
  std::vector<int> world_ranks;
  for (const int member : members) {
    places.push_back(place(member));
    world_ranks.push_back(world_ranks_[static_cast<size_t>(member)]);
  }
  return std::make_shared<MpiBackend>(std::move(comm), std::move(places), std::move(world_ranks), board_);
}

std::shared_ptr<Buffer> MpiBackend::allocate_shared(size_t bytes) {
  const auto segment = SharedSegment::create(node_comm_, bytes);
  if (!segment) {
    throw Error(
        ErrorCode::io, "parallel/comm",
        fmt::format("group {}: no shared memory of {} bytes for each rank on {}", name_, bytes, place(rank_).host),
        "use fewer ranks on that machine or a smaller model");
  }
  segment->populate();
  space_->add(segment);
  return std::make_shared<Buffer>(segment->part(local_), bytes, Device::cpu(), [segment](void*) {});
}

}  // namespace trident
