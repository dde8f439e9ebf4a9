#include "parallel/comm/mpi/message_operation.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "core/error.h"
#include "parallel/comm/reduce.h"

namespace trident {
namespace {

constexpr int kCollectiveTag = 0;

/// Calls piece(offset, bytes) for every piece of a message; an empty message is one empty piece.
template <class Call>
void for_pieces(size_t bytes, const Call& call) {
  size_t offset = 0;
  do {
    const size_t size = std::min(Requests::kPieceBytes, bytes - offset);
    call(offset, static_cast<int>(size));
    offset += size;
  } while (offset < bytes);
}

}  // namespace

void Requests::send(const MpiComm& comm, const std::byte* data, size_t bytes, int to, int tag) {
  for_pieces(bytes, [&](size_t offset, int size) {
    expected_.push_back({to, -1});
    TRIDENT_MPI_CALL(MPI_Isend, data + offset, size, MPI_BYTE, to, tag, comm.get(), &requests_.emplace_back());
  });
}

void Requests::recv(const MpiComm& comm, std::byte* data, size_t bytes, int from, int tag) {
  for_pieces(bytes, [&](size_t offset, int size) {
    expected_.push_back({from, size});
    TRIDENT_MPI_CALL(MPI_Irecv, data + offset, size, MPI_BYTE, from, tag, comm.get(), &requests_.emplace_back());
  });
}

bool Requests::test() {
  bool all = true;
  for (size_t i = 0; i < requests_.size(); ++i) {
    if (requests_[i] == MPI_REQUEST_NULL) continue;
    int done = 0;
    MPI_Status status;
    TRIDENT_MPI_CALL(MPI_Test, &requests_[i], &done, &status);
    all = all && done != 0;
    if (done == 0 || expected_[i].bytes < 0) continue;
    int bytes = 0;
    TRIDENT_MPI_CALL(MPI_Get_count, &status, MPI_BYTE, &bytes);
    if (bytes == expected_[i].bytes) continue;
    throw Error(
        ErrorCode::internal, "parallel/comm",
        fmt::format("message from rank {} has {} bytes, expected {}", expected_[i].peer, bytes, expected_[i].bytes));
  }
  if (all) requests_.clear(), expected_.clear();
  return all;
}

std::vector<int> Requests::open_peers() const {
  std::vector<int> peers;
  for (size_t i = 0; i < requests_.size(); ++i) {
    if (requests_[i] != MPI_REQUEST_NULL) peers.push_back(expected_[i].peer);
  }
  std::sort(peers.begin(), peers.end());
  peers.erase(std::unique(peers.begin(), peers.end()), peers.end());
  return peers;
}

MessageOperation::MessageOperation(const MpiComm& comm, const PeerMessage& message, CollectiveOp op)
    : message_(message), op_(op) {
  if (op == CollectiveOp::send) {
    requests_.send(comm, message.data, message.bytes, message.peer, message.tag);
  } else {
    requests_.recv(comm, message.data, message.bytes, message.peer, message.tag);
  }
}

std::string MessageOperation::waiting_for() const {
  return fmt::format("rank {} has not {} it", message_.peer, op_ == CollectiveOp::send ? "received" : "sent");
}

ExchangeOperation::ExchangeOperation(const MpiComm& comm, Exchange exchange, const std::vector<std::string>& names)
    : comm_(comm), exchange_(std::move(exchange)), names_(names), rank_(comm.rank()) {
  for (const auto& piece : exchange_.sends) longest_ = std::max(longest_, piece.bytes);
  for (const auto& piece : exchange_.recvs) longest_ = std::max(longest_, piece.bytes);
  const auto me = static_cast<size_t>(rank_);
  const auto& own = exchange_.sends[me];
  if (!exchange_.reduction && own.bytes > 0 && own.data != exchange_.recvs[me].data) {
    std::memcpy(exchange_.recvs[me].data, own.data, own.bytes);
  }
  if (exchange_.reduction) {
    arrivals_.resize(std::min(longest_, Requests::kPieceBytes) * exchange_.sends.size());
  }
}

Exchange::Piece ExchangeOperation::part(const Exchange::Piece& piece) const {
  if (begin_ >= piece.bytes) return {piece.data, 0};
  return {piece.data == nullptr ? nullptr : piece.data + begin_, std::min(Requests::kPieceBytes, piece.bytes - begin_)};
}

// Empty pieces travel in the first round only, so that everybody hears from everybody.
void ExchangeOperation::post() {
  for (size_t peer = 0; peer < exchange_.sends.size(); ++peer) {
    if (static_cast<int>(peer) == rank_) continue;
    Exchange::Piece incoming = part(exchange_.recvs[peer]);
    if (exchange_.reduction) incoming.data = arrivals_.data() + peer * std::min(longest_, Requests::kPieceBytes);
    if (incoming.bytes > 0 || begin_ == 0) {
      requests_.recv(comm_, incoming.data, incoming.bytes, static_cast<int>(peer), kCollectiveTag);
    }
  }
  for (size_t peer = 0; peer < exchange_.sends.size(); ++peer) {
    if (static_cast<int>(peer) == rank_) continue;
    const Exchange::Piece outgoing = part(exchange_.sends[peer]);
    if (outgoing.bytes > 0 || begin_ == 0) {
      requests_.send(comm_, outgoing.data, outgoing.bytes, static_cast<int>(peer), kCollectiveTag);
    }
  }
}

void ExchangeOperation::reduce() {
  const auto& reduction = *exchange_.reduction;
  const Exchange::Piece own = part(exchange_.sends[static_cast<size_t>(rank_)]);
  if (own.bytes == 0) return;
  std::vector<const std::byte*> sources;
  for (size_t peer = 0; peer < exchange_.sends.size(); ++peer) {
    const std::byte* arrived = arrivals_.data() + peer * std::min(longest_, Requests::kPieceBytes);
    sources.push_back(static_cast<int>(peer) == rank_ ? own.data : arrived);
  }
  std::byte* const out[] = {reduction.out + begin_};
  reduce_in_order(reduction.op, reduction.element, sources,
                  static_cast<int64_t>(own.bytes / size_of(reduction.element)), out);
}

bool ExchangeOperation::advance() {
  for (;;) {
    if (!posted_) {
      post();
      posted_ = true;
    }
    if (!requests_.test()) return false;
    if (exchange_.reduction) reduce();
    posted_ = false;
    begin_ += Requests::kPieceBytes;
    if (begin_ >= longest_) return true;
  }
}

std::string ExchangeOperation::waiting_for() const {
  std::string text = "no message yet from or to: ";
  const std::vector<int> peers = requests_.open_peers();
  for (size_t i = 0; i < peers.size(); ++i) text += (i > 0 ? ", " : "") + names_[static_cast<size_t>(peers[i])];
  return text;
}

bool SequenceOperation::advance() {
  for (;;) {
    if (current_ && !current_->advance()) return false;
    current_.reset();
    if (next_ == steps_.size()) return true;
    current_ = steps_[next_++]();
  }
}

}  // namespace trident
