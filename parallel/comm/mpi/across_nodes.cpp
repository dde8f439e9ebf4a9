// Collectives of a group that spans nodes, made of those within a node and those between the ranks of one place.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "core/error.h"
#include "parallel/comm/mpi/mpi_backend.h"

namespace trident {
namespace {

using Bytes = std::shared_ptr<std::vector<std::byte>>;

/// Work that needs nobody else.
class LocalOperation final : public Operation {
 public:
  bool advance() override { return true; }
  [[nodiscard]] std::string waiting_for() const override { return {}; }
};

template <class Work>
SequenceOperation::Make local(Work work) {
  return [work] {
    work();
    return std::make_unique<LocalOperation>();
  };
}

/// The same call on another piece of memory.
CollectiveCall on(const CollectiveCall& call, CollectiveOp op, const std::byte* in, std::byte* out, int64_t count) {
  CollectiveCall part = call;
  part.signature.op = op;
  part.signature.count = count;
  part.in = in;
  part.out = out;
  part.count = count;
  return part;
}

}  // namespace

std::unique_ptr<Operation> MpiBackend::in_node(CollectiveCall call) {
  call.sequence = ++node_calls_;
  shared_->announce(call.sequence, call.signature);
  return shared_->start(call);
}

MpiBackend::Steps MpiBackend::across_nodes(const CollectiveCall& call) {
  const CollectiveOp op = call.signature.op;
  if (op == CollectiveOp::all_to_all) {
    return {[this, call] { return everyone_.start(call); }, local([call] { call.read_arrivals(); })};
  }
  if (regular_ && local_size() == 1) return {[this, call] { return peers_.start(call); }};
  if (!regular_) return {[this, call] { return everyone_.start(call); }};
  switch (op) {
    case CollectiveOp::all_reduce: return all_reduce(call);
    case CollectiveOp::reduce_scatter: return reduce_scatter(call);
    case CollectiveOp::all_gather: return all_gather(call);
    case CollectiveOp::broadcast: return broadcast(call);
    default: return barrier(call);
  }
}

// Each rank of a node reduces its slice, sums it with its peers', and shows the result to its node. What does not
// divide, and everything small, is reduced by all.
MpiBackend::Steps MpiBackend::all_reduce(const CollectiveCall& call) {
  const auto size = static_cast<int64_t>(call.element_size());
  const bool small = call.count * size <= static_cast<int64_t>(SharedGroup::kInlineBytes);
  const int64_t slice = small ? 0 : call.count / local_size();
  const int64_t sliced = slice * local_size();
  std::byte* mine = call.out + local_ * slice * size;
  std::byte* rest = call.out + sliced * size;

  Steps steps;
  if (slice > 0) {
    const auto reduce = on(call, CollectiveOp::reduce_scatter, call.out, mine, slice);
    const auto sum = on(call, CollectiveOp::all_reduce, mine, mine, slice);
    const auto gather = on(call, CollectiveOp::all_gather, mine, call.out, slice);
    steps.emplace_back([this, reduce] { return in_node(reduce); });
    steps.emplace_back([this, sum] { return peers_.start(sum); });
    steps.emplace_back([this, gather] { return in_node(gather); });
  }
  if (sliced < call.count || call.count == 0) {
    const auto tail = on(call, CollectiveOp::all_reduce, rest, rest, call.count - sliced);
    steps.emplace_back([this, tail] { return in_node(tail); });
    steps.emplace_back([this, tail] { return peers_.start(tail); });
  }
  return steps;
}

// The parts in the order of places, then nodes: so each place's parts lie together.
MpiBackend::Steps MpiBackend::reduce_scatter(const CollectiveCall& call) {
  const size_t bytes = static_cast<size_t>(call.count) * call.element_size();
  const auto places = static_cast<size_t>(local_size());
  const auto sorted = std::make_shared<std::vector<std::byte>>(bytes * places * nodes_.size());
  const int64_t per_place = call.count * static_cast<int64_t>(nodes_.size());
  std::byte* mine = sorted->data() + static_cast<size_t>(local_) * bytes * nodes_.size();
  const auto reduce = on(call, CollectiveOp::reduce_scatter, sorted->data(), mine, per_place);
  const auto scatter = on(call, CollectiveOp::reduce_scatter, mine, call.out, call.count);
  return {local([this, call, sorted, bytes] {
            for (size_t node = 0; node < nodes_.size() && bytes > 0; ++node) {
              for (size_t at = 0; at < nodes_[node].size(); ++at) {
                std::memcpy(sorted->data() + (at * nodes_.size() + node) * bytes,
                            call.in + static_cast<size_t>(nodes_[node][at]) * bytes, bytes);
              }
            }
          }),
          [this, reduce, sorted] { return in_node(reduce); },
          [this, scatter, sorted] { return peers_.start(scatter); }};
}

MpiBackend::Steps MpiBackend::all_gather(const CollectiveCall& call) {
  const size_t bytes = static_cast<size_t>(call.count) * call.element_size();
  const auto places = static_cast<size_t>(local_size());
  const auto sorted = std::make_shared<std::vector<std::byte>>(bytes * places * nodes_.size());
  const int64_t per_place = call.count * static_cast<int64_t>(nodes_.size());
  std::byte* mine = sorted->data() + static_cast<size_t>(local_) * bytes * nodes_.size();
  const auto across = on(call, CollectiveOp::all_gather, call.in, mine, call.count);
  const auto within = on(call, CollectiveOp::all_gather, mine, sorted->data(), per_place);
  return {[this, across, sorted] { return peers_.start(across); }, [this, within, sorted] { return in_node(within); },
          local([this, call, sorted, bytes] {
            for (size_t node = 0; node < nodes_.size() && bytes > 0; ++node) {
              for (size_t at = 0; at < nodes_[node].size(); ++at) {
                std::byte* const part = call.out + static_cast<size_t>(nodes_[node][at]) * bytes;
                // Already in place, and others may be reading it there.
                if (part == call.in) continue;
                std::memcpy(part, sorted->data() + (at * nodes_.size() + node) * bytes, bytes);
              }
            }
          })};
}

// From the root to its peers on the other nodes, and from each of these to its node.
MpiBackend::Steps MpiBackend::broadcast(const CollectiveCall& call) {
  CollectiveCall across = call, within = call;
  for (size_t node = 0; node < nodes_.size(); ++node) {
    const auto found = std::find(nodes_[node].begin(), nodes_[node].end(), call.signature.root);
    if (found == nodes_[node].end()) continue;
    across.signature.root = static_cast<int>(node);
    within.signature.root = static_cast<int>(found - nodes_[node].begin());
  }
  Steps steps;
  if (local_ == within.signature.root) steps.emplace_back([this, across] { return peers_.start(across); });
  steps.emplace_back([this, within] { return in_node(within); });
  return steps;
}

MpiBackend::Steps MpiBackend::barrier(const CollectiveCall& call) {
  const auto node = [this, call] { return in_node(call); };
  return {node, [this, call] { return peers_.start(call); }, node};
}

void MpiBackend::add_history_check(Steps& steps, uint64_t sequence) {
  struct Card {
    uint64_t hash, signature;
    int64_t count;
  };
  constexpr size_t kTraceBytes = 4096;
  const auto ranks = static_cast<size_t>(size());
  const auto cards = std::make_shared<std::vector<Card>>(ranks + 1);  // the last one is this rank's own
  const auto traces = std::make_shared<std::vector<char>>((ranks + 1) * kTraceBytes);
  const auto differing = [this, cards] {
    const auto same = [&](const Card& card) {
      return card.hash == (*cards)[0].hash && card.signature == (*cards)[0].signature &&
             card.count == (*cards)[0].count;
    };
    return static_cast<size_t>(std::find_if_not(cards->begin(), cards->begin() + size(), same) - cards->begin());
  };
  steps.emplace_back([this, cards, ranks, sequence] {
    const CallSignature call = trace_->at(sequence).value_or(CallSignature{});
    (*cards)[ranks] = {trace_->hash(sequence), call.packed(), call.count};
    return everyone_.gather(reinterpret_cast<const std::byte*>(&(*cards)[ranks]), sizeof(Card),
                            reinterpret_cast<std::byte*>(cards->data()));
  });
  // All ranks see the same cards, so all come to the same decision.
  steps.emplace_back([this, cards, traces, ranks, differing]() -> std::unique_ptr<Operation> {
    if (differing() == ranks) return std::make_unique<LocalOperation>();
    const std::string text = trace_->to_string();
    std::memcpy(traces->data() + ranks * kTraceBytes, text.data(), std::min(text.size(), kTraceBytes - 1));
    return everyone_.gather(reinterpret_cast<const std::byte*>(traces->data() + ranks * kTraceBytes), kTraceBytes,
                            reinterpret_cast<std::byte*>(traces->data()));
  });
  steps.push_back(local([this, traces, ranks, differing, sequence] {
    const size_t other = differing();
    if (other == ranks) return;
    throw Error(ErrorCode::internal, "parallel/comm",
                fmt::format("group {}: ranks diverge at call #{}\n  last calls of rank 0:{}\n  of rank {}:{}", name_,
                            sequence, traces->data(), other, traces->data() + other * kTraceBytes),
                "every rank must make the same calls in the same order");
  }));
}

}  // namespace trident
