#include "launch/snapshot_exchange.h"

#include <pthread.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "checkpoint/snapshot.h"
#include "core/error.h"
#include "core/log.h"
#include "core/signals_blocked.h"

namespace trident {
namespace {

constexpr std::chrono::milliseconds kIdle{500};
constexpr size_t kMostText = 500;

UniqueDescriptor event_descriptor() {
  UniqueDescriptor event(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!event.is_open()) throw system_error(errno, "launch/copies", "cannot make an event");
  return event;
}

void notify(const UniqueDescriptor& event) { (void)::eventfd_write(event.get(), 1); }

// Whether it was.
bool lower(const UniqueDescriptor& event) {
  eventfd_t count = 0;
  return ::eventfd_read(event.get(), &count) == 0;
}

}  // namespace

SnapshotExchange::SnapshotExchange(JobPlace place, const std::string& address, const JobSecret& secret)
    : place_(std::move(place)),
      sender_(place_.snapshots(), secret),
      receiver_(place_.snapshots(), WireListener({.address = address}, secret)),
      address_{address, receiver_.port()},
      wake_(event_descriptor()),
      news_(event_descriptor()) {
  const SignalsBlocked blocked;
  thread_ = std::jthread([this](const std::stop_token& stop) { run(stop); });
}

SnapshotExchange::~SnapshotExchange() {
  thread_.request_stop();
  notify(wake_);
  thread_.join();
  if (removing_) place_.remove_snapshots();
}

void SnapshotExchange::follow(CopyOrder order) {
  const std::lock_guard lock(mutex_);
  order_ = std::move(order);
  notify(wake_);
}

void SnapshotExchange::pause() { ask_to_pause(false); }

void SnapshotExchange::remove_snapshots() { ask_to_pause(true); }

void SnapshotExchange::ask_to_pause(bool remove) {
  const std::lock_guard lock(mutex_);
  removing_ = removing_ || remove;
  order_.reset();
  pausing_ = true;
  paused_ = false;
  notify(wake_);
}

bool SnapshotExchange::paused() const {
  const std::lock_guard lock(mutex_);
  return paused_;
}

CopyState SnapshotExchange::state() const {
  const std::lock_guard lock(mutex_);
  return state_;
}

bool SnapshotExchange::looked() const { return lower(news_); }

// ---- the thread

void SnapshotExchange::run(const std::stop_token& stop) {
  pthread_setname_np(pthread_self(), "snapshot-send");
  while (!stop.stop_requested()) {
    bool more = false;
    try {
      if (take_orders()) {
        more = sender_.advance();
        more = receiver_.advance() || more;
      }
    } catch (const Error& error) {
      failure_ = error.what();
      sender_.stop();
      receiver_.stop();
    }
    publish();
    wait(more);
  }
}

// Whether there is something to do.
bool SnapshotExchange::take_orders() {
  pause_if_asked();
  std::optional<CopyOrder> order;
  {
    const std::lock_guard lock(mutex_);
    if (!pausing_) order = std::exchange(order_, std::nullopt);
    if (order) paused_ = false;
  }
  if (!order) return listening_;
  listening_ = true;
  swept_ = swept_ && order->epoch == followed_.epoch;
  const bool round_done = order->epoch == followed_.epoch && order->base >= 0 && order->base == followed_.next;
  if (round_done && !std::exchange(swept_, true)) remove_void();
  followed_ = *order;
  sender_.follow(*order);
  receiver_.follow(*order);
  return true;
}

// To give memory back may take long: nobody waits for the lock meanwhile.
void SnapshotExchange::pause_if_asked() {
  bool remove = false;
  {
    const std::lock_guard lock(mutex_);
    if (!pausing_) return;
    remove = std::exchange(removing_, false);
  }
  sender_.stop();
  receiver_.stop();
  listening_ = false;
  followed_ = {};
  failure_.clear();
  if (remove) place_.remove_snapshots();
  const std::lock_guard lock(mutex_);
  pausing_ = removing_;
  paused_ = !pausing_;
  state_ = {};
  notify(news_);
}

// A state of this epoch is in two places: nobody goes back to what ranks left here that run elsewhere now, nor to
// copies that others keep.
void SnapshotExchange::remove_void() {
  const std::string prefix = place_.snapshots();
  std::vector<std::string> kept = receiver_.names();
  for (const CopyDuty& duty : followed_.sends) {
    const auto own = snapshots_of_rank(prefix, duty.rank);
    kept.insert(kept.end(), own.begin(), own.end());
  }
  for (const std::string& file : shared_memory_names(prefix.substr(1) + ".")) {
    const std::string name = "/" + file;
    if (std::find(kept.begin(), kept.end(), name) == kept.end()) SnapshotMemory::remove(name);
  }
}

void SnapshotExchange::publish() {
  const std::lock_guard lock(mutex_);
  if (paused_ || pausing_ || order_) return;
  CopyState now{.epoch = followed_.epoch, .copied = -1, .missed = -1, .problem = {}, .hopeless = false};
  now.problem = (failure_.empty() ? sender_.problem() : failure_).substr(0, kMostText);
  now.hopeless = !failure_.empty() || sender_.no_room();
  if (sender_.copied()) now.copied = followed_.next;
  if (sender_.missed()) now.missed = followed_.next;
  if (now == state_) return;
  state_ = std::move(now);
  notify(news_);
}

void SnapshotExchange::wait(bool more) const {
  std::vector<pollfd> events{{wake_.get(), POLLIN, 0}};
  if (listening_) {
    sender_.watch(events);
    receiver_.watch(events);
  }
  const auto most = more ? std::chrono::milliseconds(0) : listening_ ? sender_.patience() : kIdle;
  (void)::poll(events.data(), events.size(), static_cast<int>(most.count()));
  (void)lower(wake_);
}

}  // namespace trident
