#include "parallel/pipeline/schedules.h"

#include <algorithm>
#include <limits>

#include "core/error.h"

namespace trident::pipeline {
namespace {

enum class Placement { loop, v };

Schedule empty_schedule(std::string name, int32_t p, int32_t v, int32_t m, Placement placement = Placement::loop) {
  TRIDENT_CHECK(p >= 1 && v >= 1 && m >= 1, "a schedule needs ranks, stages and microbatches");
  Schedule schedule{std::move(name), p, m, v, {}, std::vector<std::vector<Action>>(static_cast<size_t>(p)), false};
  for (int32_t stage = 0; stage < p * v; ++stage) {
    const bool back = placement == Placement::v && stage / p % 2 == 1;
    schedule.rank_of_stage.push_back(back ? p - 1 - stage % p : stage % p);
  }
  return schedule;
}

// One rank's list as it is written, for a stage at a time; each op counts its own microbatches.
class StageWriter {
 public:
  StageWriter(std::vector<Action>& list, int32_t stage, int32_t microbatches)
      : list_(list), stage_(stage), microbatches_(microbatches) {}

  void forward() { add(Op::forward, forwards_); }
  void backward() { add(Op::backward, backwards_); }
  void input() { add(Op::backward_input, backwards_); }
  void weight() { add(Op::backward_weight, weights_); }

  [[nodiscard]] int32_t forwards() const { return forwards_; }
  /// Input gradients whose weight gradients are still to come.
  [[nodiscard]] int32_t deferred() const { return backwards_ - weights_; }

 private:
  // Beyond the last microbatch nothing is written, but counted: patterns made for more microbatches stay in step.
  void add(Op op, int32_t& count) {
    if (count < microbatches_) list_.push_back({stage_, op, count});
    ++count;
  }

  std::vector<Action>& list_;
  int32_t stage_;
  int32_t microbatches_;
  int32_t forwards_ = 0, backwards_ = 0, weights_ = 0;
};

// m microbatches in as many groups of at least p as there can be, the larger ones first. Where p divides m these are
// Megatron's groups of p; otherwise all are about equally longer, because a group shorter than p would leave ranks
// waiting between their stages.
std::vector<int32_t> microbatch_groups(int32_t p, int32_t m) {
  const int32_t count = m / p;
  std::vector<int32_t> groups(static_cast<size_t>(count), m / count);
  for (int32_t i = 0; i < m % count; ++i) ++groups[static_cast<size_t>(i)];
  return groups;
}

struct ChunkStep {
  int32_t chunk;
  int32_t microbatch;
};

// The order in which every rank's forwards walk over its chunks; backwards take the chunks in reverse.
std::vector<ChunkStep> chunk_order(const std::vector<int32_t>& groups, int32_t v) {
  std::vector<ChunkStep> order;
  int32_t first = 0;
  for (const int32_t size : groups) {
    for (int32_t chunk = 0; chunk < v; ++chunk)
      for (int32_t i = 0; i < size; ++i) order.push_back({chunk, first + i});
    first += size;
  }
  return order;
}

// Puts weight gradients where a rank would wait otherwise, when every pass takes one unit of time, and where it holds
// `most_live` activations and needs room for the next forward. The oldest goes first, so that microbatches keep their
// order. The lists hold forwards and input gradients in an order that can run.
class WeightPlacer {
 public:
  WeightPlacer(const Schedule& schedule, int32_t most_live)
      : schedule_(schedule),
        most_live_(most_live),
        ranks_(schedule.actions.size()),
        forward_end_(schedule.rank_of_stage.size() * static_cast<size_t>(schedule.microbatches), kNever),
        input_end_(forward_end_) {}

  Schedule run() {
    size_t left = 0;
    for (const auto& list : schedule_.actions) left += list.size() + list.size() / 2;
    for (int32_t time = 0; left > 0; ++time)
      for (size_t rank = 0; rank < ranks_.size(); ++rank) left -= step(rank, time) ? 1 : 0;
    Schedule filled = schedule_;
    for (size_t rank = 0; rank < ranks_.size(); ++rank) filled.actions[rank] = std::move(ranks_[rank].actions);
    return filled;
  }

 private:
  static constexpr int32_t kNever = std::numeric_limits<int32_t>::max();
  struct Rank {
    std::vector<Action> actions;
    size_t next = 0;               // of the given list
    std::vector<Action> deferred;  // input gradients done, oldest first
    size_t weights = 0;            // how many of these have their weight gradient
    int32_t live = 0;
  };

  size_t slot(int32_t stage, int32_t microbatch) const {
    return static_cast<size_t>(stage) * static_cast<size_t>(schedule_.microbatches) + static_cast<size_t>(microbatch);
  }

  bool ready(const Action& action, int32_t time) const {
    if (action.op == Op::forward)
      return action.stage == 0 || forward_end_[slot(action.stage - 1, action.microbatch)] <= time;
    if (action.stage + 1 < schedule_.stages()) return input_end_[slot(action.stage + 1, action.microbatch)] <= time;
    return forward_end_[slot(action.stage, action.microbatch)] <= time;
  }

  // Whether the rank does anything in the unit of time that begins now.
  bool step(size_t index, int32_t time) {
    Rank& rank = ranks_[index];
    const auto& list = schedule_.actions[index];
    if (rank.next < list.size() && ready(list[rank.next], time)) {
      const Action& action = list[rank.next];
      const bool forward = action.op == Op::forward;
      if (!forward || rank.live < most_live_) {
        (forward ? forward_end_ : input_end_)[slot(action.stage, action.microbatch)] = time + 1;
        forward ? static_cast<void>(++rank.live) : rank.deferred.push_back(action);
        rank.actions.push_back(action);
        ++rank.next;
        return true;
      }
    }
    if (rank.weights == rank.deferred.size()) return false;
    const Action& oldest = rank.deferred[rank.weights++];
    rank.actions.push_back({oldest.stage, Op::backward_weight, oldest.microbatch});
    --rank.live;
    return true;
  }

  const Schedule& schedule_;
  int32_t most_live_;
  std::vector<Rank> ranks_;
  std::vector<int32_t> forward_end_, input_end_;
};

}  // namespace

Schedule gpipe(int32_t p, int32_t m) {
  Schedule schedule = empty_schedule("gpipe", p, 1, m);
  for (int32_t rank = 0; rank < p; ++rank) {
    StageWriter stage(schedule.actions[static_cast<size_t>(rank)], rank, m);
    for (int32_t i = 0; i < m; ++i) stage.forward();
    for (int32_t i = 0; i < m; ++i) stage.backward();
  }
  return schedule;
}

Schedule one_f_one_b(int32_t p, int32_t m) {
  Schedule schedule = empty_schedule("1f1b", p, 1, m);
  for (int32_t rank = 0; rank < p; ++rank) {
    StageWriter stage(schedule.actions[static_cast<size_t>(rank)], rank, m);
    for (int32_t i = 0; i < std::min(p - 1 - rank, m); ++i) stage.forward();
    for (int32_t i = 0; i < m; ++i) {
      if (stage.forwards() < m) stage.forward();
      stage.backward();
    }
  }
  return schedule;
}

Schedule interleaved(int32_t p, int32_t v, int32_t m) {
  if (v == 1) {
    Schedule schedule = one_f_one_b(p, m);
    schedule.name = "interleaved";
    return schedule;
  }
  TRIDENT_CHECK(m >= p, "interleaving needs at least as many microbatches as ranks");
  Schedule schedule = empty_schedule("interleaved", p, v, m);
  const std::vector<int32_t> groups = microbatch_groups(p, m);
  const std::vector<ChunkStep> order = chunk_order(groups, v);
  for (int32_t rank = 0; rank < p; ++rank) {
    auto& list = schedule.actions[static_cast<size_t>(rank)];
    const int32_t ahead = 2 * (p - 1 - rank) + (v - 1) * groups.front();
    const auto warmup = static_cast<size_t>(ahead);
    const auto forward = [&](size_t i) {
      list.push_back({order[i].chunk * p + rank, Op::forward, order[i].microbatch});
    };
    for (size_t i = 0; i < std::min(warmup, order.size()); ++i) forward(i);
    for (size_t i = 0; i < order.size(); ++i) {
      if (warmup + i < order.size()) forward(warmup + i);
      list.push_back({(v - 1 - order[i].chunk) * p + rank, Op::backward, order[i].microbatch});
    }
  }
  return schedule;
}

Schedule zb_h1(int32_t p, int32_t m) {
  Schedule schedule = empty_schedule("zb-h1", p, 1, m);
  for (int32_t rank = 0; rank < p; ++rank) {
    StageWriter stage(schedule.actions[static_cast<size_t>(rank)], rank, m);
    for (int32_t i = 0; i < std::min(p - 1 - rank, m); ++i) stage.forward();
    for (int32_t i = 0; i < m; ++i) {
      if (stage.forwards() < m) stage.forward();
      stage.input();
      if (stage.deferred() > rank) stage.weight();
    }
    while (stage.deferred() > 0) stage.weight();
  }
  return schedule;
}

Schedule zb_v(int32_t p, int32_t m) {
  Schedule schedule = empty_schedule("zb-v", p, 2, m, Placement::v);
  // The pattern needs 2p-1 microbatches to fill; with fewer, those beyond the last are left out of it.
  const int32_t full = std::max(m, 2 * p - 1);
  for (int32_t rank = 0; rank < p; ++rank) {
    auto& list = schedule.actions[static_cast<size_t>(rank)];
    StageWriter down(list, rank, m), up(list, 2 * p - 1 - rank, m);
    // Fill the V down to its point and back up.
    for (int32_t i = 0; i < 2 * (p - rank) - 1; ++i) down.forward();
    for (int32_t i = 0; i < rank; ++i) up.forward(), down.forward();
    for (int32_t i = 0; i < p - rank; ++i) up.forward(), up.input();
    // Steady.
    while (up.forwards() < down.forwards() || down.forwards() < full) {
      if (down.forwards() < full) down.forward();
      down.input();
      up.forward(), up.input();
    }
    // Drain.
    for (int32_t i = 0; i < rank; ++i) down.input(), up.input();
    for (int32_t i = 0; i < p - rank; ++i) down.input();
  }
  return WeightPlacer(schedule, 2 * p).run();
}

Schedule forwards(const Schedule& like, int32_t m) {
  TRIDENT_CHECK(m >= 1, "a schedule needs microbatches");
  Schedule schedule = like;
  schedule.name = "forwards";
  schedule.microbatches = m;
  schedule.lowered = false;
  for (int32_t rank = 0; rank < like.ranks; ++rank) {
    auto& list = schedule.actions[static_cast<size_t>(rank)];
    list.clear();
    for (int32_t group = 0; group < m; group += like.ranks)
      for (const int32_t stage : like.stages_of(rank))
        for (int32_t i = group; i < std::min(m, group + like.ranks); ++i) list.push_back({stage, Op::forward, i});
  }
  return schedule;
}

}  // namespace trident::pipeline
