#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/tensor.h"
#include "parallel/comm/collective_trace.h"
#include "parallel/comm/element.h"

namespace trident {

/// Looks at what every rank gives to this one: parts[r] is where rank r's part lies.
using PartsReader = std::function<void(std::span<const std::byte* const> parts)>;

/// One collective call of one rank, as its back end sees it: arguments are checked, sizes are in elements.
struct CollectiveCall {
  uint64_t sequence = 0;
  CallSignature signature;
  const std::byte* in = nullptr;
  std::byte* out = nullptr;
  /// all_reduce, broadcast: of the buffer; reduce_scatter: of `out`; all_gather: of `in`; all_to_all: unused.
  int64_t count = 0;
  std::vector<int64_t> send_counts;  ///< all_to_all only
  std::vector<int64_t> recv_counts;  ///< all_to_all only
  /// all_to_all only, may be empty: called once by the operation, when the parts have come or can be read where they
  /// are. In the second case nothing is copied to `out`, and the operation ends when every rank's reader has returned.
  PartsReader read;

  [[nodiscard]] size_t element_size() const { return size_of(signature.element); }
  /// Lets the reader, if there is one, look at the parts in `out`.
  void read_arrivals() const {
    if (!read) return;
    std::vector<const std::byte*> parts;
    const std::byte* part = out;
    for (const int64_t received : recv_counts) {
      parts.push_back(part);
      part += received * static_cast<int64_t>(element_size());
    }
    read(parts);
  }
};

/// A message between two ranks of a group.
struct PeerMessage {
  int peer = 0;
  int tag = 0;
  std::byte* data = nullptr;
  size_t bytes = 0;
};

/// Something started that has not finished. Destroying it abandons it.
class Operation {
 public:
  virtual ~Operation() = default;
  /// Goes as far as it can without waiting; true when the operation is done. Not called again after that.
  virtual bool advance() = 0;
  /// Whom it waits for, for a person.
  [[nodiscard]] virtual std::string waiting_for() const = 0;
};

/// Where a rank runs.
struct RankPlace {
  std::string host;
  int node = 0;  ///< ranks with the same number share memory
};

/// One rank's end of a group of at least two ranks. Calls come from one thread. Collective operations are started one
/// at a time, in the same order on every rank; messages overlap freely.
class CommBackend {
 public:
  virtual ~CommBackend() = default;
  [[nodiscard]] virtual int rank() const = 0;
  [[nodiscard]] virtual int size() const = 0;
  [[nodiscard]] virtual const RankPlace& place(int rank) const = 0;

  /// The rank has called collective number `sequence`, which may still queue behind others.
  virtual void announce(uint64_t sequence, const CallSignature& signature) = 0;
  virtual std::unique_ptr<Operation> start(const CollectiveCall& call) = 0;
  virtual std::unique_ptr<Operation> start_send(const PeerMessage& message) = 0;
  virtual std::unique_ptr<Operation> start_recv(const PeerMessage& message) = 0;

  /// The end of this rank in a new group of `members` (ranks of this group, in the order of their new ranks). All
  /// ranks of this group call it at the same point, each with its own group; `id` is the same for all groups of one
  /// split. Null `members` for a rank that joins none.
  virtual std::shared_ptr<CommBackend> split(std::span<const int> members, uint64_t id) = 0;
  /// Memory that the ranks of this node reach directly. Collective.
  virtual std::shared_ptr<Buffer> allocate_shared(size_t bytes) = 0;

  /// The group's name, for errors; with `compare_history` the ranks compare the hash of all calls so far, not the
  /// current one alone.
  virtual void configure(const std::string& name, bool compare_history) = 0;
  /// Lets the other ranks know that this one gives up, so that they need not run into their timeouts.
  virtual void give_up(const std::string& reason) = 0;
  /// Throws Error(peer_lost) if another rank gave up.
  virtual void throw_if_given_up() const = 0;
};

}  // namespace trident
