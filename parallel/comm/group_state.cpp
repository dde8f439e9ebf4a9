#include "parallel/comm/group_state.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "parallel/comm/backoff.h"

namespace trident {

GroupState::GroupState(std::shared_ptr<CommBackend> backend_in, std::string name_in, const CommOptions& options_in,
                       std::shared_ptr<ProgressEngine> engine_in)
    : backend(std::move(backend_in)), name(std::move(name_in)), options(options_in), engine(std::move(engine_in)) {}

Pending GroupState::start_collective(CollectiveCall call, const CommBuffer& in, const CommBuffer& out) {
  auto started = std::make_shared<StartedOperation>();
  call.sequence = ++sequence;
  call.in = in.data();
  call.out = out.data();
  started->record = {name, sequence, call.signature.op, static_cast<int64_t>(std::max(in.bytes(), out.bytes()))};
  enter(*started);
  started->call = std::move(call);
  started->in = in;
  started->out = out;
  if (on_device(*started) && transport) {
    backend->announce(sequence, started->call.signature);
    started->native = transport->start(started->call);
    started->since = std::chrono::steady_clock::now();
    native_.push_back(started);
    return launch(started);
  }
  if (on_device(*started)) {
    started->staged = std::make_unique<StagedTransfer>(need_staging(), started->call, backend->size(), backend->rank());
  }
  backend->announce(sequence, started->call.signature);
  collectives_.push_back(started);
  return launch(started);
}

Pending GroupState::start_message(CollectiveOp op, const CommBuffer& buffer, int peer, int tag) {
  auto started = std::make_shared<StartedOperation>();
  started->record = {name, 0, op, static_cast<int64_t>(buffer.bytes()), peer};
  started->message = {peer, tag, buffer.data(), buffer.bytes()};
  started->in = buffer;
  enter(*started);
  if (on_device(*started) && transport) {
    started->native = transport->start(op, started->message, *backend);
    started->since = std::chrono::steady_clock::now();
    native_messages_.push_back(started);
    return launch(started);
  }
  if (on_device(*started)) started->staged = std::make_unique<StagedTransfer>(need_staging(), started->message, op);
  messages_.push_back(started);
  start(*started);
  return launch(started);
}

const std::shared_ptr<PinnedPool>& GroupState::need_staging() const {
  TRIDENT_CHECK(staging != nullptr, "group " + name + " got a tensor on a device, but no stream (set_stream)");
  return staging;
}

bool GroupState::on_device(const StartedOperation& started) const {
  const bool in = started.in.device().kind == DeviceKind::cuda, out = started.out.device().kind == DeviceKind::cuda;
  TRIDENT_CHECK(in == out || (in ? started.out : started.in).bytes() == 0,
                "group " + name + ": one buffer of a call lies on a device, the other does not");
  return in || out;
}

// Before any other rank can know of the call.
void GroupState::enter(const StartedOperation& started) const {
  if (options.sink != nullptr) options.sink->entered(started.record);
}

Pending GroupState::launch(const std::shared_ptr<StartedOperation>& operation) {
  engine->add(shared_from_this());
  advance();
  return {operation, shared_from_this()};
}

// False while its data is on its way from the device, or while messages before it are.
bool GroupState::start(StartedOperation& started) {
  if (started.staged && !started.staged->fetched()) return false;
  switch (started.record.op) {
    case CollectiveOp::send:
      if (is_held(started)) return false;
      started.operation = backend->start_send(started.message);
      return true;
    case CollectiveOp::recv: started.operation = backend->start_recv(started.message); return true;
    default: started.operation = backend->start(started.call); return true;
  }
}

// Back ends keep the order in which messages start.
bool GroupState::is_held(const StartedOperation& message) const {
  for (const auto& earlier : messages_) {
    if (earlier.get() == &message) return false;
    const bool same = earlier && earlier->record.op == message.record.op &&
                      earlier->message.peer == message.message.peer && earlier->message.tag == message.message.tag;
    if (same && !earlier->done && !earlier->operation) return true;
  }
  return false;
}

bool GroupState::advance(StartedOperation& started) {
  if (!started.operation && !start(started)) return false;
  if (!started.operation->advance()) return false;
  if (started.staged) started.staged->store();
  finish(started);
  return true;
}

void GroupState::finish(StartedOperation& started) {
  started.done = true;
  started.operation.reset();
  started.staged.reset();
  started.in = started.out = {};
  if (options.sink != nullptr) options.sink->left(started.record);
}

bool GroupState::advance() {
  while (!collectives_.empty() && advance(*collectives_.front())) collectives_.pop_front();
  std::erase_if(messages_, [&](const auto& message) { return !message || advance(*message); });
  if (transport) advance_native();
  return !collectives_.empty() || !messages_.empty() || !native_.empty() || !native_messages_.empty() ||
         !unpassed_.empty();
}

// In their order; true when all have been given.
bool GroupState::launch_native() {
  return std::all_of(native_.begin(), native_.end(), [](const auto& started) { return started->native->launch(); });
}

// The device's operations are given to it as they come, and are done when it has passed them or when somebody waits.
void GroupState::advance_native() {
  launch_native();
  while (!native_.empty() && native_.front()->native->passed()) {
    complete(native_.front());
    native_.pop_front();
  }
  for (const auto& message : native_messages_) {
    if (!message->done && message->native->launch() && message->native->passed()) complete(message);
  }
  std::erase_if(native_messages_, [](const auto& message) { return message->done; });
  watch_device();
}

/// What a device does not do is not seen by those who wait for the host.
void GroupState::watch_device() {
  std::erase_if(unpassed_, [](const auto& started) { return started->native->passed(); });
  if (native_.empty() && native_messages_.empty() && unpassed_.empty()) return;
  try {
    transport->poll();
    backend->throw_if_given_up();
  } catch (const Error& error) {
    give_up(fmt::format("group {}: {}", name, error.problem()), error.remedy());
  }
  const auto late = [&](const auto& started) {
    return std::chrono::steady_clock::now() - started->since > options.timeout;
  };
  const auto found = std::find_if(unpassed_.begin(), unpassed_.end(), late);
  if (found != unpassed_.end()) fail(**found);
}

// The work that reads the result waits on the device, not here.
void GroupState::complete(const std::shared_ptr<StartedOperation>& started) {
  started->native->join();
  started->call.read_arrivals();
  finish(*started);
  if (!started->native->passed()) unpassed_.push_back(started);
}

void GroupState::settle(const StartedOperation& started) {
  for (const auto& message : native_messages_) {
    if (message.get() == &started && message->native->launch()) complete(message);
  }
  if (started.record.sequence == 0) return;
  while (!started.done && native_.front()->native->launch()) {
    complete(native_.front());
    native_.pop_front();
  }
}

void GroupState::launch_all() {
  Backoff backoff(options.timeout);
  for (;;) {
    engine->advance();
    if (launch_native()) return;
    if (!backoff.pause()) fail(*native_.front());
  }
}

void GroupState::give_up(const std::string& problem, const std::string& remedy) {
  backend->give_up(problem);
  if (transport) transport->abort();
  throw Error(ErrorCode::peer_lost, "parallel/comm", problem, remedy);
}

std::string GroupState::describe(const StartedOperation& started) const {
  const ProgressRecord& record = started.record;
  std::string text = fmt::format("group {} (rank {} of {}): {}", name, backend->rank(), backend->size(),
                                 trident::to_string(record.op));
  if (record.sequence > 0) return text + fmt::format(" #{} of {} bytes", record.sequence, record.bytes);
  return text + fmt::format(" of {} bytes {} rank {} (tag {})", record.bytes,
                            record.op == CollectiveOp::send ? "to" : "from", started.message.peer, started.message.tag);
}

void GroupState::fail(const StartedOperation& started) {
  // A collective that is queued waits for what the first in the queue waits for.
  const bool queued = started.record.sequence > 0 && !started.operation && !started.native;
  const StartedOperation& first = queued ? *collectives_.front() : started;
  std::string problem = fmt::format("{} did not finish in {:.1f} s", describe(first),
                                    std::chrono::duration<double>(options.timeout).count());
  if (first.native) {
    problem += "; the device has not done it";
  } else {
    problem += "; " + (first.operation ? first.operation->waiting_for() : "its data has not come from the device");
  }
  give_up(problem, "look at that rank's log; raise the timeout if it is only slow");
}

// Tells the sink of a wait; of one that fails, only that it began.
class GroupState::WaitTold {
 public:
  WaitTold(ProgressSink* sink, const ProgressRecord& record) : sink_(sink), record_(record) {
    if (sink_ != nullptr) sink_->waits(record_);
  }
  ~WaitTold() {
    if (sink_ != nullptr && std::uncaught_exceptions() == 0) sink_->waited(record_);
  }
  WaitTold(const WaitTold&) = delete;
  WaitTold& operator=(const WaitTold&) = delete;

 private:
  ProgressSink* sink_;
  const ProgressRecord& record_;
};

void GroupState::wait(const StartedOperation& started) {
  if (started.done) return;
  // A wait that fails counts too.
  struct Clock {
    explicit Clock(std::chrono::steady_clock::duration& total_in) : total(total_in) {}
    ~Clock() { total += std::chrono::steady_clock::now() - start; }
    Clock(const Clock&) = delete;
    Clock& operator=(const Clock&) = delete;
    std::chrono::steady_clock::duration& total;
    const std::chrono::steady_clock::time_point start = std::chrono::steady_clock::now();
  } const clock(waited);
  wait_for_others(started);
}

void GroupState::wait_for_others(const StartedOperation& started) {
  const WaitTold told(options.sink, started.record);
  Backoff backoff(options.timeout);
  while (!started.done) {
    engine->advance();
    if (started.native && !started.done) settle(started);
    if (started.done) return;
    if (!backoff.pause()) fail(started);
  }
}

void ProgressEngine::add(const std::shared_ptr<GroupState>& group) {
  const auto same = [&](const auto& other) { return !other.owner_before(group) && !group.owner_before(other); };
  if (std::none_of(busy_.begin(), busy_.end(), same)) busy_.push_back(group);
}

void ProgressEngine::advance() {
  std::erase_if(busy_, [](const auto& weak) {
    const auto group = weak.lock();
    return !group || !group->advance();
  });
}

void Pending::wait() {
  if (!operation_) return;
  group_->wait(*operation_);
  *this = {};
}

bool Pending::test() {
  if (!operation_) return true;
  if (!operation_->done) group_->engine->advance();
  if (!operation_->done) return false;
  *this = {};
  return true;
}

}  // namespace trident
