#pragma once

#include <memory>
#include <string>
#include <vector>

#include "parallel/comm/mpi/message_operation.h"
#include "parallel/comm/mpi/mpi_comm.h"

namespace trident {

/// Collectives by messages alone, every rank with every other: traffic is the least that is possible, the number of
/// messages is not. For one rank of each node, and for what does not fit nodes of equal size.
class MessageGroup {
 public:
  MessageGroup() = default;
  /// `names[r]` says who rank r is, in errors.
  MessageGroup(MpiComm comm, std::vector<std::string> names);

  [[nodiscard]] int size() const { return static_cast<int>(names_.size()); }
  std::unique_ptr<Operation> start(const CollectiveCall& call) const;
  /// Every rank's `mine` to every rank's `all`, in rank order.
  std::unique_ptr<Operation> gather(const std::byte* mine, size_t bytes, std::byte* all) const;

 private:
  [[nodiscard]] std::unique_ptr<Operation> start(Exchange exchange) const;
  [[nodiscard]] std::unique_ptr<Operation> all_reduce(const CollectiveCall& call) const;
  [[nodiscard]] Exchange reduce_scatter(const CollectiveCall& call) const;
  [[nodiscard]] Exchange broadcast(const CollectiveCall& call) const;
  [[nodiscard]] Exchange all_to_all(const CollectiveCall& call) const;

  MpiComm comm_;
  std::vector<std::string> names_;
  int rank_ = 0;
};

}  // namespace trident
