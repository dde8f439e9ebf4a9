#include "launch/node_faults.h"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <utility>

#include "core/log.h"
#include "launch/injection_journal.h"
#include "launch/wire/forgery.h"

namespace trident {
namespace {

using Clock = WireCable::Clock;
using Kind = InjectedFault::Kind;

double wall_now() { return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count(); }

Clock::duration seconds(double value) {
  return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(value));
}

}  // namespace

NodeFaults::NodeFaults(NodeFaultsOptions options) : options_(std::move(options)) {
  std::erase_if(options_.faults, [&](const InjectedFault& fault) {
    return !concerns_node(fault.kind) || (fault.kind != Kind::coordinator_kill && fault.node != options_.node);
  });
  if (std::any_of(options_.faults.begin(), options_.faults.end(), [](auto& f) { return concerns_link(f.kind); }))
    cable_ = std::make_shared<WireCable>();
  if (cable_) stay_cut();
}

void NodeFaults::stay_cut() {
  for (const Injection& injection : read_injections(options_.journal)) {
    for (const InjectedFault& fault : options_.faults) {
      const bool same = concerns_link(fault.kind) && to_text(fault) == injection.fault;
      const double ago = wall_now() - injection.wall_s;
      if (same && ago >= 0 && ago < fault.seconds * (2 * fault.times - 1)) cut(fault, seconds(ago));
    }
  }
}

void NodeFaults::cut(const InjectedFault& fault, Clock::duration ago) {
  const auto what = fault.kind == Kind::cut_link ? WireCable::Cut::both_ways : WireCable::Cut::outgoing;
  cable_->cut(what, Clock::now() - ago, seconds(fault.seconds), fault.times);
}

bool NodeFaults::may_happen(const InjectedFault& fault, const Moment& now) {
  if (fault.kind == Kind::coordinator_kill) return now.coordinates && now.nodes > 2;
  if (fault.kind == Kind::agent_kill) return !now.coordinates;
  return !concerns_link(fault.kind) || now.nodes > 1;
}

// By this node or, where one coordinates instead of another, by that one.
bool NodeFaults::has_happened(const InjectedFault& fault, int64_t epoch) const {
  const auto injections = read_injections(options_.journal);
  return std::any_of(injections.begin(), injections.end(), [&, text = to_text(fault)](const Injection& injection) {
    return injection.fault == text && (fault.epoch == InjectedFault::kOnce || injection.epoch == epoch);
  });
}

void NodeFaults::advance(const Moment& now) {
  for (size_t i = 0; i < options_.faults.size();) {
    const InjectedFault fault = options_.faults[i];
    const bool here = fault.epoch <= InjectedFault::kEveryEpoch || fault.epoch == now.epoch;
    if (!here || now.step < fault.step || !may_happen(fault, now)) {
      ++i;
      continue;
    }
    const bool again = has_happened(fault, now.epoch);
    if (!again) happen(fault, now);
    if (fault.epoch != InjectedFault::kEveryEpoch) {
      options_.faults.erase(options_.faults.begin() + static_cast<std::ptrdiff_t>(i));
    } else {
      ++i;
    }
  }
}

void NodeFaults::happen(const InjectedFault& fault, const Moment& now) {
  append_injection(options_.journal, fault, now.epoch, {-1, options_.host});
  log::warning("a fault of the schedule: {}", to_text(fault));
  switch (fault.kind) {
    case Kind::cut_link:
    case Kind::one_way_link: return cut(fault, {});
    case Kind::forged_frames: return send_forgeries(now.coordinator.address, now.coordinator.port, fault.seed);
    case Kind::agent_kill:
    case Kind::coordinator_kill: std::raise(SIGKILL); return;
    default: return;
  }
}

}  // namespace trident
