#include "parallel/comm/shared_group.h"

#include <fmt/format.h>

#include <new>
#include <utility>

#include "core/error.h"
#include "parallel/comm/shared_operation.h"

namespace trident {
namespace {

size_t slots_bytes(int size) { return static_cast<size_t>(size) * sizeof(SharedSlot); }
size_t counts_of(int size) { return static_cast<size_t>(size) * static_cast<size_t>(size) * 4; }

}  // namespace

size_t SharedGroup::control_bytes(int size) {
  return slots_bytes(size) + counts_of(size) * sizeof(std::atomic<int64_t>);
}

void SharedGroup::construct(std::byte* control, int size) {
  for (int rank = 0; rank < size; ++rank) new (control + slots_bytes(rank)) SharedSlot{};
  for (size_t i = 0; i < counts_of(size); ++i) {
    new (control + slots_bytes(size) + i * sizeof(std::atomic<int64_t>)) std::atomic<int64_t>{0};
  }
}

void SharedGroup::attach(std::byte* control, int size, Memory& memory) {
  memory.slots = std::launder(reinterpret_cast<SharedSlot*>(control));
  memory.counts = std::launder(reinterpret_cast<std::atomic<int64_t>*>(control + slots_bytes(size)));
}

SharedGroup::SharedGroup(int rank, std::vector<std::string> names, Memory memory)
    : rank_(rank), size_(static_cast<int>(names.size())), names_(std::move(names)), memory_(std::move(memory)) {
  TRIDENT_CHECK(memory_.chunk_bytes >= kInlineBytes);
}

void SharedGroup::announce(uint64_t sequence, const CallSignature& signature) {
  slot(rank_).trace.record(sequence, signature);
}

std::unique_ptr<Operation> SharedGroup::start(const CollectiveCall& call) {
  return std::make_unique<SharedOperation>(*this, call);
}

uint64_t SharedGroup::signal() {
  slot(rank_).phase.store(++phase_, std::memory_order_release);
  return phase_;
}

bool SharedGroup::everyone_reached(uint64_t phase) const {
  for (int rank = 0; rank < size_; ++rank) {
    if (slot(rank).phase.load(std::memory_order_acquire) < phase) return false;
  }
  return true;
}

void SharedGroup::compare_calls(uint64_t sequence) const {
  const CollectiveTrace& mine = slot(rank_).trace;
  const auto my_call = mine.at(sequence);
  for (int rank = 0; rank < size_; ++rank) {
    const CollectiveTrace& theirs = slot(rank).trace;
    const auto call = theirs.at(sequence);
    if (!my_call || !call) continue;  // somebody is more than the trace's depth ahead
    if (*call == *my_call && (!trace_ || theirs.hash(sequence) == mine.hash(sequence))) continue;
    const auto index = static_cast<size_t>(rank);
    const std::string problem = fmt::format(
        "group {}: ranks diverge at call #{}: {} calls {}, {} calls {}\n  last calls of {}:{}\n  of {}:{}", group_,
        sequence, names_[static_cast<size_t>(rank_)], my_call->to_string(), names_[index], call->to_string(),
        names_[static_cast<size_t>(rank_)], mine.to_string(), names_[index], theirs.to_string());
    memory_.board->post(problem);
    throw Error(ErrorCode::internal, "parallel/comm", problem, "every rank must make the same calls in the same order");
  }
}

void SharedGroup::throw_if_given_up() const {
  const auto reason = memory_.board->reason();
  if (reason) throw Error(ErrorCode::peer_lost, "parallel/comm", "another rank gave up: " + *reason);
}

std::string SharedGroup::missing(uint64_t phase, uint64_t sequence) const {
  std::string absent, stuck;
  for (int rank = 0; rank < size_; ++rank) {
    const SharedSlot& other = slot(rank);
    if (other.phase.load(std::memory_order_acquire) >= phase) continue;
    const auto& name = names_[static_cast<size_t>(rank)];
    const uint64_t last = other.trace.last();
    const auto call = other.trace.at(last);
    if (last < sequence) {
      absent += fmt::format("{}{} (last call: {})", absent.empty() ? "" : ", ", name,
                            call ? fmt::format("#{} {}", last, call->to_string()) : "none");
    } else {
      stuck += (stuck.empty() ? "" : ", ") + name;
    }
  }
  std::string text;
  if (!absent.empty()) text += "not arrived: " + absent;
  if (!stuck.empty()) text += (text.empty() ? "" : "; ") + ("called it, but does not move on: " + stuck);
  return text;
}

}  // namespace trident
