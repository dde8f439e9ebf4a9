#include "parallel/comm/nccl_transport.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <tuple>
#include <utility>

#include "core/error.h"
#include "parallel/comm/nccl/queue.h"

namespace trident {
namespace {

using nccl::check;
using nccl::library;
using nccl::Queue;
using nccl::QueuedOperation;

static_assert(sizeof(NcclId) == sizeof(ncclUniqueId));

ncclUniqueId unpacked(const NcclId& id) {
  ncclUniqueId unique;
  std::memcpy(&unique, id.data(), sizeof unique);
  return unique;
}

ncclDataType_t type_of(Element element) {
  switch (element) {
    case Element::fp64: return ncclFloat64;
    case Element::fp32: return ncclFloat32;
    case Element::bf16: return ncclBfloat16;
    case Element::int32: return ncclInt32;
    case Element::int64: return ncclInt64;
  }
  return ncclInt8;
}

std::shared_ptr<Queue> make_queue(const NcclId& id, int size, int rank, cudaStream_t compute, int max_blocks) {
  const auto make = [&](ncclComm_t* comm, ncclConfig_t* config) {
    return library().CommInitRankConfig(comm, size, unpacked(id), rank, config);
  };
  return std::make_shared<Queue>(compute, make, max_blocks);
}

/// Every rank's parts to every rank, in one step.
void exchange(const CollectiveCall& call, const Queue& queue) {
  const ncclDataType_t type = type_of(call.signature.element);
  const std::byte* from = call.in;
  std::byte* to = call.out;
  check(library().GroupStart(), "all_to_all");
  for (size_t peer = 0; peer < call.send_counts.size(); ++peer) {
    const auto sent = static_cast<size_t>(call.send_counts[peer]),
               received = static_cast<size_t>(call.recv_counts[peer]);
    const int rank = static_cast<int>(peer);
    if (sent > 0) check(library().Send(from, sent, type, rank, queue.comm(), queue.stream()), "all_to_all");
    if (received > 0) check(library().Recv(to, received, type, rank, queue.comm(), queue.stream()), "all_to_all");
    from += sent * call.element_size();
    to += received * call.element_size();
  }
  check(library().GroupEnd(), "all_to_all");
}

void enqueue(const CollectiveCall& call, const Queue& queue) {
  const auto count = static_cast<size_t>(call.count);
  const ncclDataType_t type = type_of(call.signature.element);
  const ncclRedOp_t op = call.signature.reduce == ReduceOp::max ? ncclMax : ncclSum;
  ncclComm_t comm = queue.comm();
  cudaStream_t stream = queue.stream();
  switch (call.signature.op) {
    case CollectiveOp::all_reduce:
      return check(library().AllReduce(call.in, call.out, count, type, op, comm, stream), "all_reduce");
    case CollectiveOp::reduce_scatter:
      return check(library().ReduceScatter(call.in, call.out, count, type, op, comm, stream), "reduce_scatter");
    case CollectiveOp::all_gather:
      return check(library().AllGather(call.in, call.out, count, type, comm, stream), "all_gather");
    case CollectiveOp::broadcast:
      return check(library().Broadcast(call.in, call.out, count, type, call.signature.root, comm, stream), "broadcast");
    case CollectiveOp::all_to_all: return exchange(call, queue);
    default: TRIDENT_CHECK(false, "no collective on a device: " + std::string(to_string(call.signature.op)));
  }
}

/// The messages of one tag from one rank to another. They have a communicator of their own, because messages of other
/// tags and other ways may wait for one another in any order, and NCCL carries out those of one communicator in the
/// order in which they come. It is made when the first message comes.
class Channel {
 public:
  Channel(CollectiveOp op, const PeerMessage& message, cudaStream_t compute, CommBackend& host)
      : sends_(op == CollectiveOp::send), compute_(compute) {
    if (sends_) id_ = make_nccl_id();
    const PeerMessage card{message.peer, message.tag, reinterpret_cast<std::byte*>(id_.data()), sizeof id_};
    exchange_ = sends_ ? host.start_send(card) : host.start_recv(card);
  }

  /// The queue, once both ends know of it.
  [[nodiscard]] const std::shared_ptr<Queue>& queue() {
    if (exchange_ && exchange_->advance()) {
      exchange_.reset();
      queue_ = make_queue(id_, 2, sends_ ? 0 : 1, compute_, kMaxBlocks);
    }
    return queue_;
  }
  void finalize() const noexcept {
    if (queue_) queue_->finalize();
  }
  void abort() const noexcept {
    if (queue_) queue_->abort();
  }
  void check_errors() const {
    if (queue_) (void)queue_->idle();
  }

  uint64_t started = 0, launched = 0;  // messages

 private:
  static constexpr int kMaxBlocks = 4;  // a few move messages as fast as a link does

  bool sends_;
  cudaStream_t compute_;
  NcclId id_{};
  std::unique_ptr<Operation> exchange_;
  std::shared_ptr<Queue> queue_;
};

/// A message, which waits for its channel and for those before it.
class ChannelOperation final : public DeviceOperation {
 public:
  ChannelOperation(std::shared_ptr<Channel> channel, CollectiveOp op, const PeerMessage& message, cudaStream_t compute)
      : channel_(std::move(channel)), number_(channel_->started++), begin_(nccl::mark(compute)) {
    enqueue_ = [op, message](const Queue& queue) {
      const ncclResult_t result =
          op == CollectiveOp::send
              ? library().Send(message.data, message.bytes, ncclUint8, 1, queue.comm(), queue.stream())
              : library().Recv(message.data, message.bytes, ncclUint8, 0, queue.comm(), queue.stream());
      check(result, op == CollectiveOp::send ? "send" : "recv");
    };
  }
  bool launch() override {
    const auto& queue = channel_->queue();
    if (!queue || number_ > channel_->launched) return false;
    if (!operation_) operation_ = std::make_unique<QueuedOperation>(queue, begin_, enqueue_);
    if (!operation_->launch()) return false;
    if (number_ == channel_->launched) ++channel_->launched;
    return true;
  }
  [[nodiscard]] bool passed() const override { return operation_ && operation_->passed(); }
  void join() override { operation_->join(); }

 private:
  std::shared_ptr<Channel> channel_;
  uint64_t number_;
  nccl::EventHandle begin_;
  QueuedOperation::Enqueue enqueue_;
  std::unique_ptr<QueuedOperation> operation_;
};

class NcclTransport final : public DeviceTransport {
 public:
  NcclTransport(std::shared_ptr<Queue> queue, Stream compute, std::chrono::milliseconds timeout)
      : queue_(std::move(queue)), compute_(std::move(compute)), timeout_(timeout) {
    queue_->wait_until_idle(timeout_, "connecting the GPUs of a group");
  }

  // All at once: two ranks may end their channels in different order.
  ~NcclTransport() override {
    for (const auto& [key, channel] : channels_) channel->finalize();
  }
  NcclTransport(const NcclTransport&) = delete;
  NcclTransport& operator=(const NcclTransport&) = delete;

  std::unique_ptr<DeviceOperation> start(const CollectiveCall& call) override {
    return std::make_unique<QueuedOperation>(queue_, nccl::mark(queue_->compute()),
                                             [call](const Queue& queue) { enqueue(call, queue); });
  }

  std::unique_ptr<DeviceOperation> start(CollectiveOp op, const PeerMessage& message, CommBackend& host) override {
    auto& channel = channels_[{op == CollectiveOp::send, message.peer, message.tag}];
    if (!channel) channel = std::make_shared<Channel>(op, message, queue_->compute(), host);
    return std::make_unique<ChannelOperation>(channel, op, message, queue_->compute());
  }

  // NCCL's rule: nothing may be under way in the group that is split.
  std::shared_ptr<DeviceTransport> split(int color, int key) override {
    queue_->wait_until_done(timeout_, "the operations before a split");
    if (color < 0) {
      thread_local ncclComm_t none = nullptr;  // NCCL works beside, and may outlive a timeout
      check(library().CommSplit(queue_->comm(), NCCL_SPLIT_NOCOLOR, key, &none, nullptr), "splitting a group");
      queue_->wait_until_idle(timeout_, "splitting a group");
      return nullptr;
    }
    const auto make = [&](ncclComm_t* comm, ncclConfig_t* config) {
      return library().CommSplit(queue_->comm(), color, key, comm, config);
    };
    auto part = std::make_shared<Queue>(queue_->compute(), make, 0);
    queue_->wait_until_idle(timeout_, "splitting a group");
    return std::make_shared<NcclTransport>(std::move(part), compute_, timeout_);
  }

  void poll() override {
    (void)queue_->idle();
    for (const auto& [key, channel] : channels_) channel->check_errors();
  }

  void abort() noexcept override {
    queue_->abort();
    for (const auto& [key, channel] : channels_) channel->abort();
  }

  std::shared_ptr<Buffer> allocate(size_t bytes) override {
    void* data = nullptr;
    nccl::check(library().MemAlloc(&data, std::max<size_t>(bytes, 1)), "allocating memory");
    void* handle = nullptr;
    const auto release = [queue = queue_](void* memory, void* registered) {
      if (registered != nullptr) library().CommDeregister(queue->comm(), registered);
      library().MemFree(memory);
    };
    queue_->wait_until_idle(timeout_, "registering memory");
    // Without it communication is slower, no more.
    if (library().CommRegister(queue_->comm(), data, bytes, &handle) != ncclSuccess) handle = nullptr;
    nccl::check(cudaMemsetAsync(data, 0, bytes, queue_->compute()), "zeroing memory");
    return std::make_shared<Buffer>(data, bytes, compute_.device(),
                                    [release, handle](void* memory) { release(memory, handle); });
  }

 private:
  std::shared_ptr<Queue> queue_;
  Stream compute_;
  std::chrono::milliseconds timeout_;
  std::map<std::tuple<bool, int, int>, std::shared_ptr<Channel>> channels_;  // by way, peer and tag
};

}  // namespace

std::string nccl_problem() { return library().problem; }

NcclId make_nccl_id() {
  ncclUniqueId unique;
  check(library().GetUniqueId(&unique), "naming a group");
  NcclId id;
  std::memcpy(id.data(), &unique, sizeof unique);
  return id;
}

std::shared_ptr<DeviceTransport> connect_nccl(const NcclId& id, int size, int rank, const Stream& compute,
                                              std::chrono::milliseconds timeout) {
  auto queue = make_queue(id, size, rank, static_cast<cudaStream_t>(compute.handle()), 0);
  return std::make_shared<NcclTransport>(std::move(queue), compute, timeout);
}

}  // namespace trident
