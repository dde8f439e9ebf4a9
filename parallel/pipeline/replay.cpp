#include "parallel/pipeline/replay.h"

#include <queue>
#include <tuple>

namespace trident::pipeline {
namespace {

struct Running {
  int64_t end;
  int32_t rank;
  bool operator>(const Running& other) const { return std::tie(end, rank) > std::tie(other.end, other.rank); }
};

class Replayer {
 public:
  explicit Replayer(const Schedule& schedule)
      : schedule_(schedule),
        forward_(schedule.rank_of_stage.size() * static_cast<size_t>(schedule.microbatches)),
        input_(forward_.size()),
        next_(schedule.actions.size()),
        busy_(schedule.actions.size()) {}

  Replay run() {
    for (int32_t rank = 0; rank < schedule_.ranks; ++rank) start(rank, 0);
    while (!running_.empty()) {
      const Running done = running_.top();
      running_.pop();
      finish(done);
    }
    return {std::move(order_), std::move(next_)};
  }

 private:
  size_t slot(int32_t stage, int32_t microbatch) const {
    return static_cast<size_t>(stage) * static_cast<size_t>(schedule_.microbatches) + static_cast<size_t>(microbatch);
  }

  bool inputs_exist(const Action& action) const {
    const auto [stage, op, microbatch] = action;
    if (op == Op::forward) return stage == 0 || forward_[slot(stage - 1, microbatch)];
    if (op == Op::backward_weight) return input_[slot(stage, microbatch)];
    return forward_[slot(stage, microbatch)] &&
           (stage + 1 == schedule_.stages() || input_[slot(stage + 1, microbatch)]);
  }

  void start(int32_t rank, int64_t now) {
    const auto& list = schedule_.actions[static_cast<size_t>(rank)];
    size_t& next = next_[static_cast<size_t>(rank)];
    while (next < list.size() && !is_compute(list[next].op)) ++next;
    if (busy_[static_cast<size_t>(rank)] || next == list.size() || !inputs_exist(list[next])) return;
    busy_[static_cast<size_t>(rank)] = true;
    running_.push({now + (list[next].op == Op::backward ? 2 : 1), rank});
  }

  void finish(const Running& done) {
    const auto rank = static_cast<size_t>(done.rank);
    const Action action = schedule_.actions[rank][next_[rank]++];
    busy_[rank] = false;
    order_.push_back({done.rank, action});
    if (action.op == Op::forward) forward_[slot(action.stage, action.microbatch)] = true;
    if (gives_input_gradient(action.op)) input_[slot(action.stage, action.microbatch)] = true;
    start(done.rank, done.end);
    if (action.op == Op::forward && action.stage + 1 < schedule_.stages())
      start(schedule_.rank_of(action.stage + 1), done.end);
    if (gives_input_gradient(action.op) && action.stage > 0) start(schedule_.rank_of(action.stage - 1), done.end);
  }

  const Schedule& schedule_;
  std::vector<bool> forward_, input_;  // what exists, by stage and microbatch
  std::vector<size_t> next_;
  std::vector<bool> busy_;
  std::priority_queue<Running, std::vector<Running>, std::greater<>> running_;
  std::vector<Replay::Step> order_;
};

}  // namespace

bool Replay::complete(const Schedule& schedule) const {
  for (size_t rank = 0; rank < schedule.actions.size(); ++rank)
    if (stopped_at[rank] < schedule.actions[rank].size()) return false;
  return true;
}

Replay replay(const Schedule& schedule) { return Replayer(schedule).run(); }

}  // namespace trident::pipeline
