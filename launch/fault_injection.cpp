#include "launch/fault_injection.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <thread>
#include <utility>
#include <vector>

#include "core/memory.h"
#include "core/philox.h"
#include "launch/injection_journal.h"
#include "train/metrics/run_directory.h"

namespace trident {
namespace {

using Kind = InjectedFault::Kind;
using Place = InjectedFault::Place;

bool concerns_all(const InjectedFault& fault) { return fault.kind == Kind::skip || fault.kind == Kind::mismatch; }

// Bytes of one element, changed by `change`.
template <class Change>
void change_element(const Stream& stream, const Tensor& flat, int64_t index, const Change& change) {
  const Tensor one = flat.flat_view(index, {1});
  std::array<std::byte, 8> bytes{};
  std::memcpy(bytes.data(), to_host(stream, one).raw(), one.bytes());
  change(bytes, one.bytes());
  write_from_host(stream, one, [&](Tensor& host) { std::memcpy(host.raw(), bytes.data(), host.bytes()); });
}

std::array<uint32_t, 4> words_of(const InjectedFault& fault) {
  return RandomStream(static_cast<uint64_t>(fault.seed), "place of a fault").block(static_cast<uint64_t>(fault.step));
}

// Every page is written, so that each takes memory.
void hog() {
  constexpr size_t kMost = size_t{2} << 30, kPiece = size_t{16} << 20;
  std::vector<std::vector<char>> held;
  for (size_t bytes = 0; bytes < kMost; bytes += kPiece) held.emplace_back(kPiece, 'x');
}

uint64_t wide(uint32_t high, uint32_t low) { return uint64_t{high} << 32 | low; }

void flip_bit(std::span<std::byte> bytes, uint64_t bit) {
  bytes[static_cast<size_t>(bit / 8)] ^= static_cast<std::byte>(1U << (bit % 8));
}

}  // namespace

FaultInjector::FaultInjector(TrainProgress& inner, InjectorOptions options)
    : inner_(inner), options_(std::move(options)) {
  for (const InjectedFault& fault : std::exchange(options_.faults, {})) {
    if (concerns_node(fault.kind)) continue;
    const bool here = fault.epoch == InjectedFault::kEveryEpoch || fault.epoch == options_.epoch ||
                      (fault.epoch == InjectedFault::kOnce && !has_happened(fault));
    if (here) faults_.push_back({fault});
  }
}

// By an earlier gang, whose processes are gone: so all ranks of this one read the same.
bool FaultInjector::has_happened(const InjectedFault& fault) const {
  const auto injections = read_injections(options_.journal);
  return std::any_of(injections.begin(), injections.end(), [text = to_text(fault), this](const Injection& injection) {
    return injection.fault == text && injection.epoch != options_.epoch;
  });
}

void FaultInjector::join(const Communicator& world) {
  world_ = world;
  if (std::any_of(faults_.begin(), faults_.end(), [](const Due& due) { return concerns_all(due.fault); }))
    extra_ = world.split(0, world.rank(), "injected");
}

void FaultInjector::phase(TrainPhase phase, int64_t step) {
  inner_.phase(phase, step);
  for (Due& due : faults_) {
    const InjectedFault& fault = due.fault;
    const bool now = fault.kind == Kind::slow ? step >= fault.step : step == fault.step;
    if (!now || fault.phase != phase || fault.kind == Kind::restore) continue;
    if (fault.rank == options_.rank) tell(due);
    if (fault.rank == options_.rank || concerns_all(fault)) happen(fault);
  }
}

void FaultInjector::tell(Due& due) {
  if (options_.journal.empty() || std::exchange(due.told, true)) return;
  append_injection(options_.journal, due.fault, options_.epoch, {options_.rank, host_name()});
}

void FaultInjector::happen(const InjectedFault& fault) {
  const bool culprit = fault.rank == options_.rank;
  switch (fault.kind) {
    case Kind::kill:
    case Kind::lose: std::raise(SIGKILL); return;
    case Kind::restore:
    case Kind::cut_link:
    case Kind::one_way_link:
    case Kind::forged_frames:
    case Kind::agent_kill:
    case Kind::coordinator_kill: return;  // agent's and coordinator's
    case Kind::stop: std::raise(SIGSTOP); return;
    case Kind::segfault: std::raise(SIGSEGV); return;
    case Kind::exit: std::_Exit(fault.code);
    case Kind::leave: throw LeftEarly{};
    case Kind::skip:
      if (!culprit) extra_.barrier();
      return;
    case Kind::mismatch: {
      double value[] = {0.0};
      if (culprit)
        world_.all_reduce(std::span<double>(value));
      else
        world_.barrier();
      return;
    }
    case Kind::hog: hog(); return;
    case Kind::livelock:
      for (std::atomic<uint64_t> spin{0};;) spin.fetch_add(1, std::memory_order_relaxed);
    case Kind::slow: std::this_thread::sleep_for(std::chrono::duration<double>(fault.seconds)); return;
    case Kind::nan: make_nan(fault); return;
    case Kind::flip: flip(fault); return;
    case Kind::full_disk: files_.fill_for(fault.seconds); return;
    case Kind::hung_disk: files_.hang_for(fault.seconds); return;
  }
}

// Of a gain: every token passes it.
void FaultInjector::make_nan(const InjectedFault& fault) {
  if (!holdings_) return;
  holdings_->settle();
  for (const Parameter* parameter : holdings_->parameters) {
    if (parameter->decays()) continue;
    const Tensor flat = parameter->value.flat_view(0, {parameter->value.elements()});
    const auto index = static_cast<int64_t>(words_of(fault)[0] % static_cast<uint64_t>(flat.elements()));
    return change_element(holdings_->stream, flat, index, [](auto& bytes, size_t size) {
      for (size_t i = 0; i < size; ++i) bytes[i] = std::byte{0xFF};  // not a number in every format
    });
  }
}

void FaultInjector::flip(const InjectedFault& fault) {
  if (!holdings_) return;
  holdings_->settle();
  const auto words = words_of(fault);
  if (fault.in == Place::snapshot) {
    const std::span<std::byte> snapshot = holdings_->snapshot();
    if (!snapshot.empty()) flip_bit(snapshot, wide(words[0], words[1]) % (8 * snapshot.size()));
    return;
  }
  if (holdings_->pieces.empty()) return;
  const OwnedPiece& piece = holdings_->pieces[words[0] % holdings_->pieces.size()];
  const auto index = static_cast<int64_t>(words[1] % static_cast<uint64_t>(piece.count));
  const Tensor& gradient = piece.parameter->grad;
  const Tensor flat = fault.in == Place::weight ? piece.master : gradient.flat_view(0, {gradient.elements()});
  change_element(holdings_->stream, flat, fault.in == Place::weight ? index : piece.begin + index,
                 [&](auto& bytes, size_t size) { flip_bit(std::span(bytes).first(size), words[2] % (8 * size)); });
}

}  // namespace trident
