#include "launch/fault.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include "core/error.h"

namespace trident {
namespace {

using Kind = InjectedFault::Kind;
using Place = InjectedFault::Place;

constexpr std::string_view kKinds[] = {
    "kill", "stop",     "segfault", "exit",         "leave",         "skip",       "mismatch",
    "hog",  "livelock", "slow",     "nan",          "flip",          "full_disk",  "hung_disk",
    "lose", "restore",  "cut_link", "one_way_link", "forged_frames", "agent_kill", "coordinator_kill"};
constexpr std::string_view kPlaces[] = {"weight", "gradient", "snapshot"};

[[noreturn]] void refuse(std::string_view what) {
  throw Error(ErrorCode::usage, "--inject", fmt::format("'{}' is no fault", what),
              fmt::format("write it like kill@rank=2,step=5; kinds: {}; "
                          "keys: rank, node, step, epoch, phase, code, seconds, times, in ({}), seed",
                          fmt::join(kKinds, ", "), fmt::join(kPlaces, ", ")));
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

template <class E>
E named(std::span<const std::string_view> names, std::string_view name, std::string_view whole) {
  const auto found = std::find(names.begin(), names.end(), name);
  if (found == names.end()) refuse(whole);
  return static_cast<E>(found - names.begin());
}

std::string_view first_word(std::string_view text) { return take(text, ' '); }

std::string_view word_of(TrainPhase phase) { return first_word(to_string(phase)); }

InjectedFault parse_fault(const std::string_view whole) {
  std::string_view rest = whole;
  InjectedFault fault;
  fault.kind = named<Kind>(kKinds, take(rest, '@'), whole);
  std::optional<TrainPhase> phase;
  while (!rest.empty()) {
    std::string_view value = take(rest, ',');
    const std::string_view key = take(value, '=');
    if (key == "rank") {
      fault.rank = number<int>(value, whole);
    } else if (key == "node") {
      fault.node = number<int>(value, whole);
    } else if (key == "times") {
      fault.times = number<int>(value, whole);
    } else if (key == "step") {
      fault.step = number<int64_t>(value, whole);
    } else if (key == "epoch") {
      fault.epoch = value == "once" ? InjectedFault::kOnce : number<int64_t>(value, whole);
    } else if (key == "code") {
      fault.code = number<int>(value, whole);
    } else if (key == "seconds") {
      fault.seconds = number<double>(value, whole);
    } else if (key == "in") {
      fault.in = named<Place>(kPlaces, value, whole);
    } else if (key == "seed") {
      fault.seed = number<int64_t>(value, whole);
    } else if (key == "phase") {
      const int known = phase_number(value);
      if (known < 0) refuse(whole);
      phase = static_cast<TrainPhase>(known);
    } else {
      refuse(whole);
    }
  }
  fault.phase = phase.value_or(default_phase(fault.kind, fault.in));
  return fault;
}

}  // namespace

std::string_view to_string(Kind kind) { return kKinds[static_cast<size_t>(kind)]; }
std::string_view to_string(Place place) { return kPlaces[static_cast<size_t>(place)]; }
bool concerns_node(Kind kind) { return kind >= Kind::cut_link; }
bool concerns_link(Kind kind) { return kind == Kind::cut_link || kind == Kind::one_way_link; }
std::span<const std::string_view> fault_kinds() { return kKinds; }
std::span<const std::string_view> fault_places() { return kPlaces; }

int phase_number(std::string_view word) {
  for (int i = 0; i < kTrainPhases; ++i) {
    if (word_of(static_cast<TrainPhase>(i)) == word) return i;
  }
  return -1;
}

TrainPhase default_phase(Kind kind, Place in) {
  // Gradients are summed there, and snapshots copied.
  if (kind == Kind::flip && in != Place::weight) return TrainPhase::optimizer;
  return TrainPhase::forward_backward;
}

std::vector<InjectedFault> parse_faults(std::string_view text) {
  std::vector<InjectedFault> faults;
  while (!text.empty()) faults.push_back(parse_fault(take(text, ';')));
  return faults;
}

std::string to_text(const InjectedFault& fault) {
  const InjectedFault usual;
  std::string text = std::string(to_string(fault.kind)) + "@";
  if (!concerns_node(fault.kind))
    text += fmt::format("rank={},", fault.rank);
  else if (fault.kind != Kind::coordinator_kill)
    text += fmt::format("node={},", fault.node);
  text += fmt::format("step={}", fault.step);
  if (fault.epoch == InjectedFault::kOnce)
    text += ",epoch=once";
  else if (fault.epoch != usual.epoch)
    text += fmt::format(",epoch={}", fault.epoch);
  if (fault.phase != default_phase(fault.kind, fault.in)) text += fmt::format(",phase={}", word_of(fault.phase));
  if (fault.code != usual.code) text += fmt::format(",code={}", fault.code);
  if (fault.seconds != usual.seconds) text += fmt::format(",seconds={}", fault.seconds);
  if (fault.times != usual.times) text += fmt::format(",times={}", fault.times);
  if (fault.in != usual.in) text += fmt::format(",in={}", to_string(fault.in));
  if (fault.seed != usual.seed) text += fmt::format(",seed={}", fault.seed);
  return text;
}

std::string to_text(std::span<const InjectedFault> faults) {
  std::string text;
  for (const InjectedFault& fault : faults) text += (text.empty() ? "" : ";") + to_text(fault);
  return text;
}

}  // namespace trident
