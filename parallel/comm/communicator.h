#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/device.h"
#include "core/tensor.h"
#include "parallel/comm/backend.h"
#include "parallel/comm/element.h"
#include "parallel/comm/pending.h"
#include "parallel/comm/progress.h"

namespace trident {

class DeviceCopies;
class DeviceTransport;
class GroupState;

struct CommOptions {
  /// How long one wait() may take before the operation fails with the ranks that have not arrived.
  std::chrono::milliseconds timeout = std::chrono::minutes(5);
  /// Compare the hash of the group's whole history of calls at every call, across nodes too (one small message more).
  /// Without it ranks that share memory compare the current call only.
  bool trace = false;
  /// Told of every operation; may be null. Outlives the communicator and those split from it.
  ProgressSink* sink = nullptr;
};

/// A named group of ranks that communicate. Cheap to copy; copies are the same group. Used by one thread per rank.
///
/// Every rank of the group makes the same collective calls in the same order. Sums are taken in a fixed order, so
/// they depend on the values and the layout alone: by rank within a node, then by node. bf16 is summed in fp32 and
/// rounded (once per node, and once more across nodes). Groups of one rank, and tensors on the meta device, make every
/// call a silent no-op (`out` becomes `in`).
///
/// Tensors on a GPU are read and written in the order of the stream of set_stream(): a call takes what the work given
/// to it before leaves, and work given to it after wait() sees the result. They go one of two ways:
/// - by NCCL, where every rank of the group that set_stream() was called on has a GPU of its own: wait() makes the
///   stream wait, not the host, and returns when the call has been given to the GPU. Sums are in NCCL's order, which is
///   the same again for the same layout only; ranks that call different operations are found by the timeout alone.
/// - else through pinned memory of the host: calls and sums are those of the host's tensors, and ranks may give host
/// and
///   GPU tensors to one call.
///
/// Errors: a peer that does not come, within the timeout: Error(peer_lost) naming group, sequence number, operation,
/// bytes and the ranks that have not arrived. Ranks that call different operations: Error(internal) with what each
/// called last. Wrong sizes: Error(internal), before anything is sent.
class Communicator {
 public:
  /// A group of one rank.
  static Communicator self(std::string name = "self");
  /// A place in a group on paper, for dry runs: tensors on the meta device pass, everything else is a broken invariant.
  static Communicator meta(std::string name, int rank, int size);
  [[nodiscard]] bool is_meta() const;
  /// Wraps one rank's end of a new world.
  Communicator(std::shared_ptr<CommBackend> backend, std::string name, const CommOptions& options = {});

  [[nodiscard]] int rank() const;
  [[nodiscard]] int size() const;
  [[nodiscard]] const std::string& name() const;
  [[nodiscard]] const CommOptions& options() const;
  /// For all copies of this communicator, and for those split from it afterwards.
  void set_progress_sink(ProgressSink* sink);
  void set_timeout(std::chrono::milliseconds timeout);
  /// CommOptions::trace, on every rank alike and before any other call.
  void set_trace(bool trace);
  /// The stream whose work fills and reads tensors on its GPU, for all copies of this communicator and those split from
  /// it afterwards; needed before the first such tensor. Collective for a GPU's stream, nothing to do for others.
  void set_stream(const Stream& stream);
  /// The same for a device of which only its copies are known.
  void set_device(std::shared_ptr<DeviceCopies> copies);
  /// Another way for tensors on that device than through the host's memory; null for none.
  void set_transport(std::shared_ptr<DeviceTransport> transport);
  /// Host and node of a rank of this group.
  [[nodiscard]] RankPlace place(int rank) const;
  /// Number of collective calls that this rank made.
  [[nodiscard]] uint64_t sequence() const;
  /// How long this rank has waited for operations of this group so far: the time inside wait(), of blocking calls too,
  /// for what was not done when the wait began. Whatever the wait moves on meanwhile is in it; what a call does before
  /// it waits is not. 0 for a group of one.
  [[nodiscard]] double waited_seconds() const;

  /// buffer = op over all ranks' buffers.
  void all_reduce(const CommBuffer& buffer, ReduceOp op = ReduceOp::sum) const;
  /// `in` is size() equal parts; out = op over all ranks' part number rank(). `out` may be that part of `in`.
  void reduce_scatter(const CommBuffer& in, const CommBuffer& out, ReduceOp op = ReduceOp::sum) const;
  /// out = the `in` of rank 0, of rank 1, … `in` may be part number rank() of `out`.
  void all_gather(const CommBuffer& in, const CommBuffer& out) const;
  void broadcast(const CommBuffer& buffer, int root) const;
  /// Part r of `in` goes to rank r; out = part rank() of every rank's `in`, in rank order. Equal parts.
  void all_to_all(const CommBuffer& in, const CommBuffer& out) const;
  /// Parts of different sizes: send_counts[r] elements go to rank r, recv_counts[r] come from it.
  void all_to_all(const CommBuffer& in, std::span<const int64_t> send_counts, const CommBuffer& out,
                  std::span<const int64_t> recv_counts) const;
  void barrier() const;
  /// May wait until the receiver is there. Messages between two ranks with one tag arrive in order.
  void send(const CommBuffer& buffer, int to, int tag = 0) const;
  /// Throws Error(internal) if the message has another size than `buffer`.
  void recv(const CommBuffer& buffer, int from, int tag = 0) const;

  Pending all_reduce_async(const CommBuffer& buffer, ReduceOp op = ReduceOp::sum) const;
  Pending reduce_scatter_async(const CommBuffer& in, const CommBuffer& out, ReduceOp op = ReduceOp::sum) const;
  Pending all_gather_async(const CommBuffer& in, const CommBuffer& out) const;
  Pending broadcast_async(const CommBuffer& buffer, int root) const;
  Pending all_to_all_async(const CommBuffer& in, const CommBuffer& out) const;
  Pending all_to_all_async(const CommBuffer& in, std::span<const int64_t> send_counts, const CommBuffer& out,
                           std::span<const int64_t> recv_counts) const;
  /// For a rank that wants to read its parts once, not to keep them: `read` is called once, inside the call that moves
  /// the operation to that point. Where all ranks' `in` lies in memory of one node that its ranks reach directly, it
  /// sees them there, and all ranks' operations end when every rank has read; otherwise it sees copies in `scratch`.
  /// Ranks with and without readers may take part in one call. On a GPU the parts are copies in `scratch`, which the
  /// stream's work may read from then on. Not called for tensors on the meta device.
  Pending all_to_all_async(const CommBuffer& in, std::span<const int64_t> send_counts, const CommBuffer& scratch,
                           std::span<const int64_t> recv_counts, PartsReader read) const;
  Pending barrier_async() const;
  Pending send_async(const CommBuffer& buffer, int to, int tag = 0) const;
  Pending recv_async(const CommBuffer& buffer, int from, int tag = 0) const;
  /// Moves on all started operations of this rank, in every group of the same world. Called between layers.
  void progress() const;

  /// The group of all ranks that give the same colour, ordered by key, then by rank here. A negative colour joins
  /// none and gets a group of itself alone. Collective. Options are inherited.
  [[nodiscard]] Communicator split(int color, int key, std::string name) const;

  /// A zeroed tensor that the ranks of one node reach directly: collectives of this group on it, or on views of it,
  /// copy nothing twice. Collective; every rank asks for the same size. Freed when the last view is gone.
  [[nodiscard]] Tensor allocate_shared(Shape shape, DType dtype) const;
  /// A zeroed tensor on the device of set_stream() that this group's NCCL calls reach fastest.
  [[nodiscard]] Tensor allocate_communication(Shape shape, DType dtype) const;

 private:
  explicit Communicator(std::shared_ptr<GroupState> state) : state_(std::move(state)) {}
  /// Another group of this rank, which inherits what was set here.
  [[nodiscard]] Communicator beside(std::shared_ptr<CommBackend> backend, std::string name) const;
  std::shared_ptr<GroupState> state_;
};

}  // namespace trident
