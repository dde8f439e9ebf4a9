#include "parallel/pipeline/rendezvous.h"

#include <numeric>

namespace trident::pipeline {
namespace {

class Rendezvous {
 public:
  explicit Rendezvous(const Schedule& schedule) : schedule_(schedule), at_(schedule.actions.size()) {}

  std::vector<size_t> run() {
    std::vector<int32_t> movable(at_.size());
    std::iota(movable.begin(), movable.end(), 0);
    while (!movable.empty()) {
      const int32_t rank = movable.back();
      movable.pop_back();
      while (const Action* partner = pass(rank)) movable.push_back(schedule_.rank_of(partner->stage));
    }
    return std::move(at_);
  }

 private:
  const Action* current(int32_t rank) const {
    const auto& list = schedule_.actions[static_cast<size_t>(rank)];
    const size_t at = at_[static_cast<size_t>(rank)];
    return at < list.size() ? &list[at] : nullptr;
  }

  // What another rank must stand at for `action` to pass.
  Action counterpart(const Action& action) const {
    if (is_send(action.op)) return receive_of(action);
    if (is_recv(action.op)) return send_of(action);
    return {schedule_.stages() - 1 - action.stage, Op::reduce_tied, action.microbatch};
  }

  bool is_alone(const Action& action) const {
    if (is_compute(action.op)) return true;
    return action.op == Op::reduce_tied && schedule_.rank_of(0) == schedule_.rank_of(schedule_.stages() - 1);
  }

  // Moves past local actions and, with its partner, past one exchange; returns the partner's action.
  const Action* pass(int32_t rank) {
    const Action* action = current(rank);
    while (action != nullptr && is_alone(*action)) {
      ++at_[static_cast<size_t>(rank)];
      action = current(rank);
    }
    if (action == nullptr) return nullptr;
    const Action wanted = counterpart(*action);
    if (wanted.stage < 0 || wanted.stage >= schedule_.stages()) return nullptr;
    const int32_t peer = schedule_.rank_of(wanted.stage);
    const Action* other = current(peer);
    if (peer == rank || other == nullptr || *other != wanted) return nullptr;
    ++at_[static_cast<size_t>(rank)];
    ++at_[static_cast<size_t>(peer)];
    return other;
  }

  const Schedule& schedule_;
  std::vector<size_t> at_;
};

}  // namespace

std::vector<size_t> rendezvous(const Schedule& lowered) { return Rendezvous(lowered).run(); }

}  // namespace trident::pipeline
