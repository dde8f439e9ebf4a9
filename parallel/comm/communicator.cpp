#include "parallel/comm/communicator.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>

#include "core/allocator.h"
#include "core/error.h"
#include "core/memory.h"
#include "parallel/comm/device_copies.h"
#include "parallel/comm/group_state.h"
#include "parallel/comm/meta_backend.h"
#include "parallel/comm/nccl_transport.h"

namespace trident {
namespace {

constexpr int64_t kUnequal = -1;  // in a signature: the ranks' counts differ by design

/// Nothing to do for one rank, except that `out` becomes `in`.
Pending copy_to_self(const GroupState& group, const CommBuffer& in, const CommBuffer& out) {
  if (in.data() == out.data() || in.bytes() == 0) return {};
  if (in.device().kind == DeviceKind::cuda) {
    group.need_staging()->copies().move(in.data(), out.data(), in.bytes());
  } else {
    std::memcpy(out.data(), in.data(), in.bytes());
  }
  return {};
}

bool on_meta(const CommBuffer& buffer) { return buffer.device().kind == DeviceKind::meta; }

void require(bool condition, const GroupState& group, CollectiveOp op, const std::string& problem) {
  if (condition) return;
  throw Error(ErrorCode::internal, "parallel/comm",
              fmt::format("group {}: {} #{}: {}", group.name, to_string(op), group.sequence + 1, problem));
}

void require_parts(const GroupState& group, CollectiveOp op, const CommBuffer& whole, const CommBuffer& part,
                   int parts) {
  require(whole.element() == part.element() && whole.count() == part.count() * parts, group, op,
          fmt::format("{} {} are not {} times {} {}", whole.count(), to_string(whole.element()), parts, part.count(),
                      to_string(part.element())));
}

CollectiveCall make_call(CollectiveOp op, const CommBuffer& buffer, int64_t count) {
  CollectiveCall call;
  call.signature = {op, buffer.element(), ReduceOp::sum, 0, count};
  call.count = count;
  return call;
}

int64_t total(std::span<const int64_t> counts) { return std::accumulate(counts.begin(), counts.end(), int64_t{0}); }

}  // namespace

Communicator Communicator::self(std::string name) { return {nullptr, std::move(name)}; }

Communicator Communicator::meta(std::string name, int rank, int size) {
  if (size == 1) return self(std::move(name));
  return {std::make_shared<MetaBackend>(rank, size), std::move(name)};
}

bool Communicator::is_meta() const { return dynamic_cast<const MetaBackend*>(state_->backend.get()) != nullptr; }

Communicator::Communicator(std::shared_ptr<CommBackend> backend, std::string name, const CommOptions& options)
    : state_(std::make_shared<GroupState>(std::move(backend), std::move(name), options,
                                          std::make_shared<ProgressEngine>())) {
  if (state_->backend) state_->backend->configure(state_->name, options.trace);
}

int Communicator::rank() const { return state_->backend ? state_->backend->rank() : 0; }
int Communicator::size() const { return state_->backend ? state_->backend->size() : 1; }
const std::string& Communicator::name() const { return state_->name; }
const CommOptions& Communicator::options() const { return state_->options; }
void Communicator::set_progress_sink(ProgressSink* sink) { state_->options.sink = sink; }
void Communicator::set_timeout(std::chrono::milliseconds timeout) { state_->options.timeout = timeout; }

void Communicator::set_trace(bool trace) {
  state_->options.trace = trace;
  if (state_->backend) state_->backend->configure(state_->name, trace);
}

void Communicator::set_stream(const Stream& stream) {
  if (stream.device().kind != DeviceKind::cuda) return;
  set_device(copies_beside(stream));
  state_->device = stream.device();
  state_->transport = connect_devices(*this, stream);
}

void Communicator::set_device(std::shared_ptr<DeviceCopies> copies) {
  state_->staging = std::make_shared<PinnedPool>(std::move(copies));
}

void Communicator::set_transport(std::shared_ptr<DeviceTransport> transport) {
  state_->transport = std::move(transport);
}

Tensor Communicator::allocate_communication(Shape shape, DType dtype) const {
  const size_t bytes = static_cast<size_t>(shape.elements()) * size_of(dtype);
  if (state_->transport) return {state_->transport->allocate(bytes), 0, shape, dtype};
  return allocate_zeroed(state_->device, shape, dtype);
}

Communicator Communicator::beside(std::shared_ptr<CommBackend> backend, std::string name) const {
  Communicator made(std::make_shared<GroupState>(std::move(backend), std::move(name), options(), state_->engine));
  made.state_->staging = state_->staging;
  made.state_->device = state_->device;
  return made;
}

uint64_t Communicator::sequence() const { return state_->sequence; }

double Communicator::waited_seconds() const { return std::chrono::duration<double>(state_->waited).count(); }

RankPlace Communicator::place(int rank) const {
  return state_->backend ? state_->backend->place(rank) : RankPlace{"localhost", 0};
}

Pending Communicator::all_reduce_async(const CommBuffer& buffer, ReduceOp op) const {
  if (size() == 1 || on_meta(buffer)) return {};
  CollectiveCall call = make_call(CollectiveOp::all_reduce, buffer, buffer.count());
  call.signature.reduce = op;
  return state_->start_collective(std::move(call), buffer, buffer);
}

Pending Communicator::reduce_scatter_async(const CommBuffer& in, const CommBuffer& out, ReduceOp op) const {
  require_parts(*state_, CollectiveOp::reduce_scatter, in, out, size());
  if (on_meta(in)) return {};
  if (size() == 1) return copy_to_self(*state_, in, out);
  CollectiveCall call = make_call(CollectiveOp::reduce_scatter, in, out.count());
  call.signature.reduce = op;
  return state_->start_collective(std::move(call), in, out);
}

Pending Communicator::all_gather_async(const CommBuffer& in, const CommBuffer& out) const {
  require_parts(*state_, CollectiveOp::all_gather, out, in, size());
  if (on_meta(in)) return {};
  if (size() == 1) return copy_to_self(*state_, in, out);
  return state_->start_collective(make_call(CollectiveOp::all_gather, in, in.count()), in, out);
}

Pending Communicator::broadcast_async(const CommBuffer& buffer, int root) const {
  require(root >= 0 && root < size(), *state_, CollectiveOp::broadcast, fmt::format("there is no rank {}", root));
  if (size() == 1 || on_meta(buffer)) return {};
  CollectiveCall call = make_call(CollectiveOp::broadcast, buffer, buffer.count());
  call.signature.root = root;
  return state_->start_collective(std::move(call), buffer, buffer);
}

Pending Communicator::all_to_all_async(const CommBuffer& in, const CommBuffer& out) const {
  require(in.count() % size() == 0 && in.count() == out.count(), *state_, CollectiveOp::all_to_all,
          fmt::format("{} elements to {} are not equal parts for {} ranks", in.count(), out.count(), size()));
  const std::vector<int64_t> counts(static_cast<size_t>(size()), in.count() / size());
  return all_to_all_async(in, counts, out, counts);
}

Pending Communicator::all_to_all_async(const CommBuffer& in, std::span<const int64_t> send_counts,
                                       const CommBuffer& out, std::span<const int64_t> recv_counts) const {
  return all_to_all_async(in, send_counts, out, recv_counts, {});
}

Pending Communicator::all_to_all_async(const CommBuffer& in, std::span<const int64_t> send_counts,
                                       const CommBuffer& scratch, std::span<const int64_t> recv_counts,
                                       PartsReader read) const {
  const auto ranks = static_cast<size_t>(size());
  const bool negative = std::any_of(send_counts.begin(), send_counts.end(), [](int64_t n) { return n < 0; }) ||
                        std::any_of(recv_counts.begin(), recv_counts.end(), [](int64_t n) { return n < 0; });
  require(send_counts.size() == ranks && recv_counts.size() == ranks && !negative, *state_, CollectiveOp::all_to_all,
          "needs one count, not negative, for every rank");
  require(
      in.element() == scratch.element() && total(send_counts) == in.count() && total(recv_counts) == scratch.count(),
      *state_, CollectiveOp::all_to_all, "the counts do not add up to the buffers' sizes, or their types differ");
  if (on_meta(in)) return {};
  if (size() == 1 && read) {
    const std::byte* const parts[] = {in.data()};
    read(parts);
    return {};
  }
  if (size() == 1) return copy_to_self(*state_, in, scratch);
  CollectiveCall call = make_call(CollectiveOp::all_to_all, in, kUnequal);
  call.read = std::move(read);
  call.send_counts.assign(send_counts.begin(), send_counts.end());
  call.recv_counts.assign(recv_counts.begin(), recv_counts.end());
  return state_->start_collective(std::move(call), in, scratch);
}

Pending Communicator::barrier_async() const {
  if (size() == 1) return {};
  return state_->start_collective(make_call(CollectiveOp::barrier, {}, 0), {}, {});
}

Pending Communicator::send_async(const CommBuffer& buffer, int to, int tag) const {
  require(to >= 0 && to < size() && to != rank() && tag >= 0, *state_, CollectiveOp::send,
          fmt::format("cannot send from rank {} to rank {} with tag {}", rank(), to, tag));
  if (on_meta(buffer)) return {};
  return state_->start_message(CollectiveOp::send, buffer, to, tag);
}

Pending Communicator::recv_async(const CommBuffer& buffer, int from, int tag) const {
  require(from >= 0 && from < size() && from != rank() && tag >= 0, *state_, CollectiveOp::recv,
          fmt::format("rank {} cannot receive from rank {} with tag {}", rank(), from, tag));
  if (on_meta(buffer)) return {};
  return state_->start_message(CollectiveOp::recv, buffer, from, tag);
}

void Communicator::all_reduce(const CommBuffer& buffer, ReduceOp op) const { all_reduce_async(buffer, op).wait(); }
void Communicator::reduce_scatter(const CommBuffer& in, const CommBuffer& out, ReduceOp op) const {
  reduce_scatter_async(in, out, op).wait();
}
void Communicator::all_gather(const CommBuffer& in, const CommBuffer& out) const { all_gather_async(in, out).wait(); }
void Communicator::broadcast(const CommBuffer& buffer, int root) const { broadcast_async(buffer, root).wait(); }
void Communicator::all_to_all(const CommBuffer& in, const CommBuffer& out) const { all_to_all_async(in, out).wait(); }
void Communicator::all_to_all(const CommBuffer& in, std::span<const int64_t> send_counts, const CommBuffer& out,
                              std::span<const int64_t> recv_counts) const {
  all_to_all_async(in, send_counts, out, recv_counts).wait();
}
void Communicator::barrier() const { barrier_async().wait(); }
void Communicator::send(const CommBuffer& buffer, int to, int tag) const { send_async(buffer, to, tag).wait(); }
void Communicator::recv(const CommBuffer& buffer, int from, int tag) const { recv_async(buffer, from, tag).wait(); }
void Communicator::progress() const { state_->engine->advance(); }

Communicator Communicator::split(int color, int key, std::string name) const {
  if (size() == 1) return beside(nullptr, std::move(name));
  std::vector<int64_t> wishes(2 * static_cast<size_t>(size()));
  const int64_t mine[] = {color, key};
  all_gather(std::span<const int64_t>(mine), std::span<int64_t>(wishes));

  const auto wish = [&](int rank, size_t which) { return wishes[2 * static_cast<size_t>(rank) + which]; };
  std::vector<int> members;
  for (int rank = 0; rank < size(); ++rank) {
    if (color >= 0 && wish(rank, 0) == color) members.push_back(rank);
  }
  std::stable_sort(members.begin(), members.end(), [&](int a, int b) { return wish(a, 1) < wish(b, 1); });
  // Groups of one take part too: creating groups may be collective over this one.
  auto backend = state_->backend->split(members, state_->sequence);
  if (backend) backend->configure(name, options().trace);
  Communicator made = beside(std::move(backend), std::move(name));
  if (!state_->transport) return made;
  state_->launch_all();
  const auto me = std::find(members.begin(), members.end(), rank());
  const bool joins = members.size() > 1;
  made.state_->transport =
      state_->transport->split(joins ? members.front() : -1, static_cast<int>(me - members.begin()));
  return made;
}

Tensor Communicator::allocate_shared(Shape shape, DType dtype) const {
  const size_t bytes = static_cast<size_t>(shape.elements()) * size_of(dtype);
  if (size() == 1 || bytes == 0) return {map_memory(std::max<size_t>(bytes, 1)), 0, shape, dtype};
  // Named and timed like any other call, so that a missing rank is found before memory is mapped.
  std::vector<int64_t> sizes(static_cast<size_t>(size()));
  const int64_t mine[] = {static_cast<int64_t>(bytes)};
  all_gather(std::span<const int64_t>(mine), std::span<int64_t>(sizes));
  for (const int64_t size : sizes) {
    require(size == mine[0], *state_, CollectiveOp::all_gather,
            fmt::format("shared memory of {} bytes here and {} bytes elsewhere", mine[0], size));
  }
  return {state_->backend->allocate_shared(bytes), 0, shape, dtype};
}

}  // namespace trident
