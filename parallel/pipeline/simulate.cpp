#include "parallel/pipeline/simulate.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <unordered_map>

#include "core/error.h"
#include "parallel/pipeline/memory.h"

namespace trident::pipeline {
namespace {

constexpr double kUnknown = -1;

// Every time is a maximum of sums of earlier ones, so actions may be timed in any order that their inputs allow:
// `tasks_` holds the ranks and queues that may be able to go on.
class Simulator {
 public:
  Simulator(const Schedule& schedule, const SimulationCosts& costs)
      : schedule_(schedule), costs_(costs), ranks_(schedule.actions.size()) {
    const size_t slots = schedule.rank_of_stage.size() * static_cast<size_t>(schedule.microbatches);
    for (auto* times : {&forward_input_, &backward_input_, &forward_end_, &backward_end_})
      times->assign(slots, kUnknown);
    result_.compute.resize(ranks_.size());
    sort_into_queues();
  }

  Simulation run() {
    for (size_t rank = 0; rank < ranks_.size(); ++rank) compute(rank);
    while (!tasks_.empty()) {
      const Task task = tasks_.back();
      tasks_.pop_back();
      task.is_queue ? communicate(task.index) : compute(task.index);
    }
    check_complete();
    summarise();
    return std::move(result_);
  }

 private:
  struct Rank {
    std::vector<Action> actions;
    size_t next = 0;
    double free = 0;
  };
  struct Queue {
    std::vector<Action> actions;
    size_t next = 0;
    double free = 0;
    bool is_next(const Action& action) const { return next < actions.size() && actions[next] == action; }
  };
  struct Task {
    bool is_queue;
    size_t index;
  };

  size_t slot(const Action& action) const {
    return static_cast<size_t>(action.stage) * static_cast<size_t>(schedule_.microbatches) +
           static_cast<size_t>(action.microbatch);
  }

  size_t queue_of(const Action& send_or_recv) {
    const auto rank = static_cast<size_t>(schedule_.rank_of(send_or_recv.stage));
    if (costs_.queues == CommQueues::per_rank) return queue_index(rank);
    const bool up = send_or_recv.op == Op::send_forward || send_or_recv.op == Op::recv_backward;
    const auto peer = static_cast<size_t>(schedule_.rank_of(send_or_recv.stage + (up ? 1 : -1)));
    return queue_index((rank * ranks_.size() + peer) * 2 + (is_send(send_or_recv.op) ? 1 : 0));
  }

  size_t queue_index(size_t key) {
    const auto [entry, is_new] = queue_numbers_.try_emplace(key, queues_.size());
    if (is_new) queues_.emplace_back();
    return entry->second;
  }

  void sort_into_queues() {
    for (size_t rank = 0; rank < ranks_.size(); ++rank) {
      for (const Action& action : schedule_.actions[rank]) {
        if (is_compute(action.op)) ranks_[rank].actions.push_back(action);
        if (is_send(action.op) || is_recv(action.op)) queues_[queue_of(action)].actions.push_back(action);
      }
    }
  }

  // Whether it does not wait for what comes around, see WrapAround.
  bool follows_its_group(const Action& action) const {
    if (costs_.wrap_around == WrapAround::every_microbatch || action.microbatch % schedule_.ranks == 0) return false;
    return (action.op == Op::forward ? action.stage : action.stage + 1) % schedule_.ranks == 0;
  }

  // When the action's inputs are there, or kUnknown.
  double inputs_ready(const Action& action) const {
    const size_t at = slot(action);
    if (action.op == Op::forward) return action.stage == 0 || follows_its_group(action) ? 0 : forward_input_[at];
    if (action.op == Op::backward_weight) return backward_end_[at];
    if (forward_end_[at] == kUnknown) return kUnknown;
    return action.stage + 1 == schedule_.stages() || follows_its_group(action) ? forward_end_[at] : backward_input_[at];
  }

  double duration(const Action& action) const {
    const StageCost& cost = costs_.stages[costs_.stages.size() == 1 ? 0 : static_cast<size_t>(action.stage)];
    switch (action.op) {
      case Op::forward: return cost.forward;
      case Op::backward_input: return cost.input;
      case Op::backward_weight: return cost.weight;
      default: return cost.input + cost.weight;
    }
  }

  void compute(size_t index) {
    Rank& rank = ranks_[index];
    while (rank.next < rank.actions.size()) {
      const Action& action = rank.actions[rank.next];
      const double ready = inputs_ready(action);
      if (ready == kUnknown) return;
      const double start = std::max(ready, rank.free);
      rank.free = start + duration(action);
      result_.compute[index].push_back({action, start, rank.free});
      ++rank.next;
      hand_over(action, rank.free);
    }
  }

  // A stage of the same rank has the value at once; for another rank its send may start.
  void hand_over(const Action& action, double end) {
    const bool forward = action.op == Op::forward;
    if (!forward && !gives_input_gradient(action.op)) return;
    (forward ? forward_end_ : backward_end_)[slot(action)] = end;
    const int32_t to = action.stage + (forward ? 1 : -1);
    if (to < 0 || to >= schedule_.stages()) return;
    const Action send{action.stage, forward ? Op::send_forward : Op::send_backward, action.microbatch};
    if (schedule_.rank_of(to) == schedule_.rank_of(action.stage))
      arrive(receive_of(send), end);
    else
      tasks_.push_back({true, queue_of(send)});
  }

  void arrive(const Action& receive, double time) {
    (receive.op == Op::recv_forward ? forward_input_ : backward_input_)[slot(receive)] = time;
  }

  void communicate(size_t index) {
    if (queues_[index].next == queues_[index].actions.size()) return;
    const Action next = queues_[index].actions[queues_[index].next];
    const Action send = is_send(next.op) ? next : send_of(next);
    const Action receive = receive_of(send);
    const size_t send_queue = queue_of(send), receive_queue = queue_of(receive);
    const double value = (send.op == Op::send_forward ? forward_end_ : backward_end_)[slot(send)];
    if (value == kUnknown || !queues_[send_queue].is_next(send) || !queues_[receive_queue].is_next(receive)) return;
    const double start = std::max({value, queues_[send_queue].free, queues_[receive_queue].free});
    const double end = start + costs_.transfer;
    for (const size_t queue : {send_queue, receive_queue}) {
      queues_[queue].free = end;
      ++queues_[queue].next;
      tasks_.push_back({true, queue});
    }
    const int32_t from = schedule_.rank_of(send.stage), to = schedule_.rank_of(receive.stage);
    result_.transfers.push_back({send, from, to, start, end});
    arrive(receive, end);
    tasks_.push_back({false, static_cast<size_t>(to)});
  }

  void check_complete() const {
    for (const Rank& rank : ranks_) TRIDENT_CHECK(rank.next == rank.actions.size(), "the schedule cannot complete");
  }

  void summarise() {
    double useful = 0, span = 0;
    for (const auto& list : result_.compute) {
      for (const TimedAction& timed : list) useful += duration(timed.action);
      if (list.empty()) continue;
      span = std::max(span, list.back().end - list.front().start);
      result_.makespan = std::max(result_.makespan, list.back().end);
    }
    useful /= static_cast<double>(ranks_.size());
    if (result_.makespan > 0) result_.bubble_ratio = 1 - useful / result_.makespan;
    if (span > 0) result_.bubble_ratio_stage_span = (span - useful) / span;
    result_.peak_live = peak_live(schedule_);
  }

  const Schedule& schedule_;
  const SimulationCosts& costs_;
  std::vector<Rank> ranks_;
  std::vector<Queue> queues_;
  std::unordered_map<size_t, size_t> queue_numbers_;
  // By stage and microbatch: when an input has arrived, when an output exists.
  std::vector<double> forward_input_, backward_input_, forward_end_, backward_end_;
  std::vector<Task> tasks_;
  Simulation result_;
};

// Stages go around over all ranks, and microbatches in whole groups.
bool has_groups(const Schedule& schedule) {
  for (int32_t stage = 0; stage < schedule.stages(); ++stage)
    if (schedule.rank_of(stage) != stage % schedule.ranks) return false;
  return schedule.microbatches % schedule.ranks == 0;
}

}  // namespace

Simulation simulate(const Schedule& lowered, const SimulationCosts& costs) {
  TRIDENT_CHECK(lowered.lowered, "lower the schedule before timing it");
  TRIDENT_CHECK(costs.stages.size() == 1 || costs.stages.size() == lowered.rank_of_stage.size(),
                "one cost, or one per stage");
  TRIDENT_CHECK(costs.wrap_around == WrapAround::every_microbatch || has_groups(lowered),
                "no groups of microbatches go around in schedule " + lowered.name);
  return Simulator(lowered, costs).run();
}

}  // namespace trident::pipeline
