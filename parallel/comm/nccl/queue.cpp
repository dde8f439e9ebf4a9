#include "parallel/comm/nccl/queue.h"

#include <fmt/format.h>

#include <utility>

#include "core/error.h"
#include "core/log.h"
#include "parallel/comm/backoff.h"

namespace trident::nccl {
namespace {

constexpr std::chrono::milliseconds kFarewell{10000};

bool event_passed(cudaEvent_t event) {
  const cudaError_t result = cudaEventQuery(event);
  if (result == cudaErrorNotReady) return false;
  check(result, "asking the GPU");
  return true;
}

template <class Done>
void wait_for(const Done& done, std::chrono::milliseconds timeout, const char* what) {
  Backoff backoff(timeout);
  while (!done()) {
    if (backoff.pause()) continue;
    throw Error(ErrorCode::peer_lost, "parallel/comm/nccl",
                fmt::format("{} did not finish in {:.1f} s", what, std::chrono::duration<double>(timeout).count()),
                "look at the other ranks' logs; raise the timeout if they are only slow");
  }
}

}  // namespace

Queue::Queue(cudaStream_t compute, const Make& make, int max_blocks) : compute_(compute) {
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  if (max_blocks > 0) config.maxCTAs = max_blocks;
  check(make(comm_.get(), &config), "making a communicator");
}

bool Queue::idle() const {
  if (aborted_) throw Error(ErrorCode::peer_lost, "parallel/comm/nccl", "the group's communication was ended");
  if (comm() == nullptr) return false;
  ncclResult_t state = ncclSuccess;
  check(library().CommGetAsyncError(comm(), &state), "asking NCCL");
  check(state, "communication of GPUs");
  return state != ncclInProgress;
}

void Queue::wait_until_idle(std::chrono::milliseconds timeout, const char* what) const {
  wait_for([&] { return idle(); }, timeout, what);
}

void Queue::wait_until_done(std::chrono::milliseconds timeout, const char* what) const {
  wait_for([&] { return idle() && (!last_ || event_passed(last_.get())); }, timeout, what);
}

void Queue::abort() noexcept {
  if (std::exchange(aborted_, true) || comm() == nullptr) return;
  library().CommAbort(comm());
}

void Queue::finalize() noexcept {
  if (aborted_ || comm() == nullptr || std::exchange(finalized_, true)) return;
  try {
    wait_until_done(kFarewell, "the last operation of a group");
    check(library().CommFinalize(comm()), "ending a communicator");
  } catch (const Error& error) {
    log::warning("{}", error.what());
    abort();
  }
}

// Where the ranks do not all end in peace, each ends what it has.
Queue::~Queue() {
  finalize();
  if (aborted_ || comm() == nullptr) return;
  try {
    wait_until_idle(kFarewell, "the end of a group");
    check(library().CommDestroy(comm()), "ending a communicator");
  } catch (const Error& error) {
    log::warning("{}", error.what());
    abort();
  }
}

QueuedOperation::QueuedOperation(std::shared_ptr<Queue> queue, EventHandle begin, Enqueue enqueue)
    : queue_(std::move(queue)), enqueue_(std::move(enqueue)), begin_(std::move(begin)) {}

// While NCCL carries out one call, it takes no other.
bool QueuedOperation::launch() {
  if (state_ == State::launched) return true;
  if (!queue_->idle()) return false;
  if (state_ == State::waiting) {
    check(cudaStreamWaitEvent(queue_->stream(), begin_.get(), 0), "ordering streams");
    enqueue_(*queue_);
    state_ = State::enqueued;
    if (!queue_->idle()) return false;
  }
  check(cudaEventRecord(end_.get(), queue_->stream()), "recording an event");
  queue_->last_ = end_;
  state_ = State::launched;
  return true;
}

bool QueuedOperation::passed() const { return state_ == State::launched && event_passed(end_.get()); }

void QueuedOperation::join() { check(cudaStreamWaitEvent(queue_->compute(), end_.get(), 0), "ordering streams"); }

}  // namespace trident::nccl
