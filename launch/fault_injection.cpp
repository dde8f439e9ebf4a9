#include "launch/fault_injection.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "core/error.h"

namespace trident {
namespace {

using Kind = InjectedFault::Kind;

constexpr std::array kKinds{
    std::pair{Kind::kill, std::string_view("kill")},         std::pair{Kind::stop, std::string_view("stop")},
    std::pair{Kind::segfault, std::string_view("segfault")}, std::pair{Kind::exit, std::string_view("exit")},
    std::pair{Kind::skip, std::string_view("skip")},         std::pair{Kind::mismatch, std::string_view("mismatch")},
    std::pair{Kind::livelock, std::string_view("livelock")}, std::pair{Kind::slow, std::string_view("slow")},
    std::pair{Kind::lose, std::string_view("lose")},         std::pair{Kind::restore, std::string_view("restore")},
};

[[noreturn]] void refuse(std::string_view what) {
  throw Error(ErrorCode::usage, "--inject", fmt::format("'{}' is no fault", what),
              "write it like kill@rank=2,step=5; kinds: kill, stop, segfault, exit, skip, mismatch, livelock, slow, "
              "lose, restore; "
              "keys: rank, step, epoch, phase, code, seconds");
}

// The part before `separator`, which is removed with it.
std::string_view take(std::string_view& text, char separator) {
  const size_t end = std::min(text.find(separator), text.size());
  const std::string_view part = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return part;
}

template <class T>
T number(std::string_view text, std::string_view whole) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0) refuse(whole);
  return value;
}

TrainPhase phase_of(std::string_view word, std::string_view whole) {
  for (int i = 0; i < kTrainPhases; ++i) {
    std::string_view name = to_string(static_cast<TrainPhase>(i));
    if (take(name, ' ') == word) return static_cast<TrainPhase>(i);
  }
  refuse(whole);
}

InjectedFault parse_fault(const std::string_view whole) {
  std::string_view rest = whole;
  const std::string_view kind = take(rest, '@');
  const auto* const known = std::find_if(kKinds.begin(), kKinds.end(), [&](const auto& k) { return k.second == kind; });
  if (known == kKinds.end()) refuse(whole);
  InjectedFault fault{.kind = known->first};
  while (!rest.empty()) {
    std::string_view value = take(rest, ',');
    const std::string_view key = take(value, '=');
    if (key == "rank")
      fault.rank = number<int>(value, whole);
    else if (key == "step")
      fault.step = number<int64_t>(value, whole);
    else if (key == "epoch")
      fault.epoch = number<int64_t>(value, whole);
    else if (key == "code")
      fault.code = number<int>(value, whole);
    else if (key == "seconds")
      fault.seconds = number<double>(value, whole);
    else if (key == "phase")
      fault.phase = phase_of(value, whole);
    else
      refuse(whole);
  }
  return fault;
}

bool concerns_all(const InjectedFault& fault) { return fault.kind == Kind::skip || fault.kind == Kind::mismatch; }

}  // namespace

std::vector<InjectedFault> parse_faults(std::string_view text) {
  std::vector<InjectedFault> faults;
  while (!text.empty()) faults.push_back(parse_fault(take(text, ';')));
  return faults;
}

FaultInjector::FaultInjector(TrainProgress& inner, std::vector<InjectedFault> faults, int rank, int64_t epoch)
    : inner_(inner), faults_(std::move(faults)), rank_(rank) {
  std::erase_if(faults_, [&](const InjectedFault& fault) { return fault.epoch != 0 && fault.epoch != epoch; });
}

void FaultInjector::join(const Communicator& world) {
  world_ = world;
  if (std::any_of(faults_.begin(), faults_.end(), concerns_all)) extra_ = world.split(0, world.rank(), "injected");
}

void FaultInjector::phase(TrainPhase phase, int64_t step) {
  inner_.phase(phase, step);
  for (const InjectedFault& fault : faults_) {
    const bool due = fault.kind == Kind::slow ? step >= fault.step : step == fault.step;
    if (due && fault.phase == phase && (fault.rank == rank_ || concerns_all(fault))) happen(fault);
  }
}

void FaultInjector::happen(const InjectedFault& fault) {
  const bool culprit = fault.rank == rank_;
  switch (fault.kind) {
    case Kind::kill:
    case Kind::lose: std::raise(SIGKILL); return;
    case Kind::restore: return;  // the agent's
    case Kind::stop: std::raise(SIGSTOP); return;
    case Kind::segfault: std::raise(SIGSEGV); return;
    case Kind::exit: std::_Exit(fault.code);
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
    case Kind::livelock:
      for (std::atomic<uint64_t> spin{0};;) spin.fetch_add(1, std::memory_order_relaxed);
    case Kind::slow: std::this_thread::sleep_for(std::chrono::duration<double>(fault.seconds)); return;
  }
}

}  // namespace trident
