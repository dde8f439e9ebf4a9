#include "parallel/comm/mpi/message_group.h"

#include <algorithm>
#include <utility>

#include "core/error.h"

namespace trident {
namespace {

std::byte* mutable_pointer(const std::byte* data) { return const_cast<std::byte*>(data); }

}  // namespace

MessageGroup::MessageGroup(MpiComm comm, std::vector<std::string> names)
    : comm_(std::move(comm)), names_(std::move(names)), rank_(comm_.rank()) {}

std::unique_ptr<Operation> MessageGroup::start(Exchange exchange) const {
  return std::make_unique<ExchangeOperation>(comm_, std::move(exchange), names_);
}

std::unique_ptr<Operation> MessageGroup::gather(const std::byte* mine, size_t bytes, std::byte* all) const {
  Exchange exchange;
  for (int peer = 0; peer < size(); ++peer) {
    exchange.sends.push_back({mutable_pointer(mine), bytes});
    exchange.recvs.push_back({all + static_cast<size_t>(peer) * bytes, bytes});
  }
  return start(std::move(exchange));
}

std::unique_ptr<Operation> MessageGroup::start(const CollectiveCall& call) const {
  switch (call.signature.op) {
    case CollectiveOp::all_reduce: return all_reduce(call);
    case CollectiveOp::reduce_scatter: return start(reduce_scatter(call));
    case CollectiveOp::all_gather:
      return gather(call.in, static_cast<size_t>(call.count) * call.element_size(), call.out);
    case CollectiveOp::broadcast: return start(broadcast(call));
    case CollectiveOp::all_to_all: return start(all_to_all(call));
    case CollectiveOp::barrier: return gather(nullptr, 0, nullptr);
    case CollectiveOp::send:
    case CollectiveOp::recv: break;
  }
  TRIDENT_CHECK(false, "not a collective");
}

Exchange MessageGroup::reduce_scatter(const CollectiveCall& call) const {
  const size_t bytes = static_cast<size_t>(call.count) * call.element_size();
  Exchange exchange;
  for (int peer = 0; peer < size(); ++peer) {
    exchange.sends.push_back({mutable_pointer(call.in) + static_cast<size_t>(peer) * bytes, bytes});
    exchange.recvs.push_back({nullptr, bytes});
  }
  exchange.reduction = {call.signature.reduce, call.signature.element, call.out};
  return exchange;
}

// Every rank reduces a slice, then all gather the slices.
std::unique_ptr<Operation> MessageGroup::all_reduce(const CollectiveCall& call) const {
  Exchange reduce, gather;
  const auto slice = [&](int rank) {
    const auto bound = [&](int r) { return static_cast<size_t>(call.count * r / size()) * call.element_size(); };
    return Exchange::Piece{call.out + bound(rank), bound(rank + 1) - bound(rank)};
  };
  const Exchange::Piece mine = slice(rank_);
  for (int peer = 0; peer < size(); ++peer) {
    reduce.sends.push_back(slice(peer));
    reduce.recvs.push_back({nullptr, mine.bytes});
    gather.sends.push_back(mine);
    gather.recvs.push_back(slice(peer));
  }
  reduce.reduction = {call.signature.reduce, call.signature.element, mine.data};
  return std::make_unique<SequenceOperation>(std::vector<SequenceOperation::Make>{
      [this, reduce] { return start(reduce); }, [this, gather] { return start(gather); }});
}

Exchange MessageGroup::broadcast(const CollectiveCall& call) const {
  const size_t bytes = static_cast<size_t>(call.count) * call.element_size();
  Exchange exchange;
  for (int peer = 0; peer < size(); ++peer) {
    const bool from_me = rank_ == call.signature.root;
    const bool to_me = peer == call.signature.root;
    exchange.sends.push_back({call.out, from_me ? bytes : 0});
    exchange.recvs.push_back({call.out, to_me ? bytes : 0});
  }
  return exchange;
}

Exchange MessageGroup::all_to_all(const CollectiveCall& call) const {
  Exchange exchange;
  std::byte* from = mutable_pointer(call.in);
  std::byte* to = call.out;
  for (size_t peer = 0; peer < names_.size(); ++peer) {
    const size_t sent = static_cast<size_t>(call.send_counts[peer]) * call.element_size();
    const size_t received = static_cast<size_t>(call.recv_counts[peer]) * call.element_size();
    exchange.sends.push_back({from, sent});
    exchange.recvs.push_back({to, received});
    from += sent;
    to += received;
  }
  return exchange;
}

}  // namespace trident
