#include "launch/heartbeat.h"

#include <unistd.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <utility>

#include "launch/heartbeat_slot.h"

namespace trident {
namespace {

int64_t steady_ns() { return std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count(); }

}  // namespace

/// A change that readers see whole. Not while a signal handler is about to make one.
class Heartbeat::Update {
 public:
  explicit Update(HeartbeatSlot& slot) : slot_(slot), version_(get(slot.version) | 1U) {
    put(slot_.version, version_);
    increase(slot_.beats);
  }
  ~Update() { slot_.version.store(version_ + 1, std::memory_order_release); }
  Update(const Update&) = delete;
  Update& operator=(const Update&) = delete;

 private:
  HeartbeatSlot& slot_;
  uint64_t version_;
};

Heartbeat::Heartbeat(HeartbeatMemory memory, int slot, int rank)
    : memory_(std::move(memory)), slot_(memory_.slot(slot)), phase_began_(steady_ns()) {
  known_.reserve(kHeartbeatGroups);
  const Update update(slot_);
  put(slot_.rank, rank);
  put<int64_t>(slot_.pid, getpid());
  put(slot_.state, static_cast<uint32_t>(RankRecord::State::running));
}

void Heartbeat::end_phase() {
  const int64_t now = steady_ns();
  const size_t bucket = DurationCounts::bucket_of(now - std::exchange(phase_began_, now));
  increase(slot_.phases[static_cast<size_t>(phase_)].counts[bucket]);
}

void Heartbeat::phase(TrainPhase phase, int64_t step) {
  const Update update(slot_);
  end_phase();
  phase_ = phase;
  put(slot_.phase, static_cast<uint32_t>(phase));
  put(slot_.step, step);
  put<uint64_t>(slot_.action, 0);
}

void Heartbeat::action(const pipeline::Action& action) {
  const Update update(slot_);
  put(slot_.action, pack(action));
}

void Heartbeat::resumed(int64_t step) {
  const Update update(slot_);
  put(slot_.resumed, step);
}

void Heartbeat::step_done(int64_t step, double loss, double busy_seconds) {
  const Update update(slot_);
  put(slot_.done, step);
  put(slot_.loss_bits, std::bit_cast<uint64_t>(loss));
  put(slot_.busy_bits, std::bit_cast<uint64_t>(busy_seconds));
}

void Heartbeat::committed(int64_t step) {
  const Update update(slot_);
  put(slot_.committed, step);
}

bool Heartbeat::may_commit() const { return steady_ns() < memory_.lease(); }

// A group's name stays where it is as long as the group lives, so that its address is enough.
std::optional<size_t> Heartbeat::group_of(const ProgressRecord& record) {
  const bool send = record.op == CollectiveOp::send;
  for (size_t i = 0; i < known_.size(); ++i) {
    if (known_[i].name == record.group.data() && known_[i].peer == record.peer && known_[i].send == send) return i;
  }
  if (known_.size() == kHeartbeatGroups) return std::nullopt;
  const size_t number = known_.size();
  known_.push_back({record.group.data(), record.peer, send});
  put_text(slot_.group[number].name, record.group);
  put(slot_.group[number].peer, record.peer);
  put(slot_.groups, static_cast<uint32_t>(known_.size()));
  return number;
}

void Heartbeat::entered(const ProgressRecord& record) {
  const Update update(slot_);
  const auto number = group_of(record);
  if (!number) return;
  GroupCells& group = slot_.group[*number];
  put(group.op, static_cast<uint32_t>(record.op));
  put(group.bytes, record.bytes);
  increase(group.entered);
}

void Heartbeat::left(const ProgressRecord& record) {
  const Update update(slot_);
  if (const auto number = group_of(record)) increase(slot_.group[*number].left);
}

void Heartbeat::waits(const ProgressRecord& record) {
  const Update update(slot_);
  if (const auto number = group_of(record)) put(slot_.waits_in, static_cast<uint32_t>(*number + 1));
}

void Heartbeat::waited(const ProgressRecord& record) {
  (void)record;
  const Update update(slot_);
  put<uint32_t>(slot_.waits_in, 0);
}

void Heartbeat::finished(int exit_code) {
  const Update update(slot_);
  put(slot_.exit_code, exit_code);
  put(slot_.ended_ns, steady_ns());
  put(slot_.state, static_cast<uint32_t>(RankRecord::State::finished));
}

void Heartbeat::failed(int exit_code, std::string_view message, std::optional<Blame> blame) {
  const Update update(slot_);
  put(slot_.exit_code, exit_code);
  put(slot_.ended_ns, steady_ns());
  put_text(slot_.message, message);
  if (blame) {
    put(slot_.blame_rank, blame->rank);
    put(slot_.blame_step, blame->step);
    put(slot_.blame_kind, static_cast<uint32_t>(blame->kind) + 1);
  }
  put(slot_.state, static_cast<uint32_t>(RankRecord::State::failed));
}

// The signal may have come in the middle of an update: the version is left alone.
void Heartbeat::crashed(int signal) noexcept {
  put(slot_.signal, signal);
  put(slot_.ended_ns, steady_ns());
  put(slot_.state, static_cast<uint32_t>(RankRecord::State::crashed));
}

}  // namespace trident
