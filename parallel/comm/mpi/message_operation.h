#pragma once

#include <mpi.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "parallel/comm/backend.h"
#include "parallel/comm/mpi/mpi_comm.h"

namespace trident {

/// Messages under way. Large ones travel in pieces of 1 MiB: Open MPI moves them at twice the speed.
class Requests {
 public:
  static constexpr size_t kPieceBytes = size_t{1} << 20;

  void send(const MpiComm& comm, const std::byte* data, size_t bytes, int to, int tag);
  void recv(const MpiComm& comm, std::byte* data, size_t bytes, int from, int tag);
  /// True when all are done. Throws Error if a message has not the size that was expected.
  bool test();
  /// Ranks whose messages are missing, once each.
  [[nodiscard]] std::vector<int> open_peers() const;

 private:
  struct Expected {
    int peer = 0;
    int bytes = -1;  // of a message to come; -1 for one that goes
  };
  std::vector<MPI_Request> requests_;
  std::vector<Expected> expected_;  // of the same index
};

/// A message between two ranks.
class MessageOperation final : public Operation {
 public:
  MessageOperation(const MpiComm& comm, const PeerMessage& message, CollectiveOp op);
  bool advance() override { return requests_.test(); }
  [[nodiscard]] std::string waiting_for() const override;

 private:
  Requests requests_;
  PeerMessage message_;
  CollectiveOp op_;
};

/// What one rank gives to and takes from every rank of a group, itself included.
struct Exchange {
  struct Piece {
    std::byte* data = nullptr;
    size_t bytes = 0;
  };
  std::vector<Piece> sends, recvs;  ///< by rank
  /// Instead of storing what comes: out = the sum (or maximum) of all pieces, in rank order; recvs[r].data is unused.
  struct Reduction {
    ReduceOp op = ReduceOp::sum;
    Element element = Element::fp32;
    std::byte* out = nullptr;
  };
  std::optional<Reduction> reduction;
};

/// All ranks of a group exchange pieces, 1 MiB of each at a time.
class ExchangeOperation final : public Operation {
 public:
  /// `names[r]` says who rank r of `comm` is.
  ExchangeOperation(const MpiComm& comm, Exchange exchange, const std::vector<std::string>& names);
  bool advance() override;
  [[nodiscard]] std::string waiting_for() const override;

 private:
  void post();
  void reduce();
  [[nodiscard]] Exchange::Piece part(const Exchange::Piece& piece) const;

  const MpiComm& comm_;
  Exchange exchange_;
  const std::vector<std::string>& names_;
  int rank_;
  size_t longest_ = 0;
  size_t begin_ = 0;  // of the current round, in every piece
  bool posted_ = false;
  std::vector<std::byte> arrivals_;  // of one round, for reductions
  Requests requests_;
};

/// Operations one after another, each made when the one before is done.
class SequenceOperation final : public Operation {
 public:
  using Make = std::function<std::unique_ptr<Operation>()>;
  explicit SequenceOperation(std::vector<Make> steps) : steps_(std::move(steps)) {}
  bool advance() override;
  [[nodiscard]] std::string waiting_for() const override { return current_ ? current_->waiting_for() : ""; }

 private:
  std::vector<Make> steps_;
  size_t next_ = 0;
  std::unique_ptr<Operation> current_;
};

}  // namespace trident
