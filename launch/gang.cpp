#include "launch/gang.h"

#include <fmt/format.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <utility>

#include "core/error.h"

namespace trident {
namespace {

constexpr std::chrono::seconds kKillTimeout{10};

std::string end_text(int wait_status) {
  return WIFSIGNALED(wait_status) ? fmt::format("was killed by signal {}", WTERMSIG(wait_status))
                                  : fmt::format("ended with exit code {}", WEXITSTATUS(wait_status));
}

}  // namespace

bool has_gone_on(const std::vector<RankState>& ranks) {
  return std::all_of(ranks.begin(), ranks.end(), [](const RankState& rank) {
    return rank.record.resumed >= 0 && rank.record.done > rank.record.resumed;
  });
}

Gang::Gang(LauncherOptions options, std::vector<GangShare> shares, const JobPlace& place, const MeshShape& mesh,
           const MeshOrder& order)
    : options_(std::move(options)), place_(place), shares_(std::move(shares)) {
  state_.mesh = mesh;
  state_.order = order;
  state_.ranks.resize(static_cast<size_t>(options_.ranks));
  int first = 0;
  for (const GangShare& share : shares_) {
    share.node->begin({options_.epoch, first, share.ranks});
    for (int i = 0; i < share.ranks; ++i) {
      RankState& rank = state_.ranks[static_cast<size_t>(first) + static_cast<size_t>(i)];
      rank.rank = first + i;
      rank.host = share.node->host();
    }
    first += share.ranks;
  }
  TRIDENT_CHECK(first == options_.ranks);
  start_when_ready();
}

Gang::~Gang() {
  try {
    kill();
  } catch (...) {
    return;  // said before, by whoever killed
  }
  launcher_.reset();
  for (const GangShare& share : shares_) share.node->clear();
}

void Gang::start_when_ready() {
  const auto ready = [](const GangShare& share) { return share.node->ready(); };
  if (!launcher_ && std::all_of(shares_.begin(), shares_.end(), ready)) launcher_.emplace(options_, place_);
}

bool Gang::all_started() const {
  return std::all_of(ranks().begin(), ranks().end(), [](const RankState& rank) { return rank.pid != 0; });
}

bool Gang::all_ended() const {
  return std::all_of(ranks().begin(), ranks().end(), [](const RankState& rank) { return rank.ended; });
}

void Gang::set_limits(const ProgressLimits& limits) {
  std::array<double, kTrainPhases> seconds{};
  for (size_t i = 0; i < seconds.size(); ++i) seconds[i] = limits.seconds(static_cast<TrainPhase>(i));
  for (RankState& rank : state_.ranks) rank.limit_s = seconds[static_cast<size_t>(rank.record.phase)];
}

void Gang::watch(std::vector<pollfd>& events) const {
  if (launcher_ && !launcher_status_) events.push_back({launcher_->descriptor(), POLLIN, 0});
}

void Gang::advance() {
  start_when_ready();
  note_launcher();
  look();
}

void Gang::wait_for_launcher(int milliseconds) {
  if (launcher_) launcher_->wait(milliseconds);
  note_launcher();
}

void Gang::note_launcher() {
  if (launcher_ && !launcher_status_) launcher_status_ = launcher_->status();
  if (!launcher_status_) return;
  state_.launcher_end = end_text(*launcher_status_);
  state_.launcher_killed = WIFSIGNALED(*launcher_status_);
}

// What nodes count by themselves is counted over all in the order in which it is heard.
void Gang::look() {
  std::vector<RankState*> ended;
  for (const GangShare& share : shares_) {
    for (RankState& seen : share.node->look().ranks) {
      RankState& known = state_.ranks[static_cast<size_t>(seen.rank)];
      const int order = std::exchange(seen.end_order, known.end_order);
      const bool news = seen.ended && !known.ended;
      known = std::move(seen);
      if (!news) continue;
      known.end_order = order;
      ended.push_back(&known);
    }
  }
  std::sort(ended.begin(), ended.end(), [](auto* a, auto* b) { return a->end_order < b->end_order; });
  for (RankState* rank : ended) rank->end_order = ++ends_;
}

void Gang::signal(int number) const {
  for (const GangShare& share : shares_) share.node->signal(number);
}

std::optional<std::string> Gang::alive() const {
  for (const GangShare& share : shares_) {
    if (auto found = share.node->alive()) return found;
  }
  return std::nullopt;
}

void Gang::kill() {
  for (const GangShare& share : shares_) share.node->fence();
  // Ranks that have not said hello yet do not come any more: they lose their launcher, and with it their lives.
  if (launcher_ && !all_started()) launcher_->kill();
  const auto deadline = std::chrono::steady_clock::now() + kKillTimeout;
  while (const auto who = alive()) {
    if (std::chrono::steady_clock::now() > deadline)
      throw Error(ErrorCode::internal, "launch/gang", *who + " does not die: it may hang in the kernel",
                  "look at its /proc/PID/stack; this node must be started anew");
    std::vector<pollfd> events;
    for (const GangShare& share : shares_) share.node->watch(events);
    (void)::poll(events.data(), events.size(), 100);
    for (const GangShare& share : shares_) share.node->advance();
  }
}

}  // namespace trident
