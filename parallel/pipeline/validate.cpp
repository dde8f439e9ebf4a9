#include "parallel/pipeline/validate.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "core/error.h"
#include "parallel/pipeline/memory.h"
#include "parallel/pipeline/rendezvous.h"
#include "parallel/pipeline/replay.h"

namespace trident::pipeline {
namespace {

constexpr int32_t kNever = -1;

// Where in its rank's list each thing is done for one (stage, microbatch).
struct Places {
  int32_t forward = kNever, input = kNever, weight = kNever;
  int32_t recv_forward = kNever, send_forward = kNever, recv_backward = kNever, send_backward = kNever;
};

class Validator {
 public:
  Validator(const Schedule& schedule, const ValidateOptions& options) : schedule_(schedule), options_(options) {}

  std::vector<Problem> run() {
    if (!well_formed()) return std::move(problems_);
    places_.resize(schedule_.rank_of_stage.size() * static_cast<size_t>(schedule_.microbatches));
    for (int32_t rank = 0; rank < schedule_.ranks; ++rank) read_list(rank);
    for (int32_t stage = 0; stage < schedule_.stages(); ++stage)
      for (int32_t microbatch = 0; microbatch < schedule_.microbatches; ++microbatch) {
        check_computation(stage, microbatch);
        check_communication(stage, microbatch);
      }
    check_reductions();
    check_edges();
    check_progress();
    check_memory();
    return std::move(problems_);
  }

 private:
  const std::vector<Action>& list(int32_t rank) const { return schedule_.actions[static_cast<size_t>(rank)]; }

  Places& places(int32_t stage, int32_t microbatch) {
    return places_[static_cast<size_t>(stage) * static_cast<size_t>(schedule_.microbatches) +
                   static_cast<size_t>(microbatch)];
  }

  void report(ProblemKind kind, int32_t rank, std::string detail) {
    if (problems_.size() < std::max<size_t>(options_.max_problems, 1))
      problems_.push_back({kind, rank, std::move(detail)});
  }

  // ---- shape

  bool well_formed() {
    const auto wrong = [&](std::string detail) { report(ProblemKind::malformed, -1, std::move(detail)); };
    if (schedule_.ranks < 1 || schedule_.microbatches < 1 || schedule_.stages() < 1)
      wrong("no ranks, microbatches or stages");
    else if (schedule_.stages() > kMaxStages || schedule_.microbatches > kMaxStageMicrobatches / schedule_.stages())
      wrong(fmt::format("{} stages × {} microbatches are too many", schedule_.stages(), schedule_.microbatches));
    if (schedule_.actions.size() != static_cast<size_t>(std::max(schedule_.ranks, 0)))
      wrong(fmt::format("{} lists of actions for {} ranks", schedule_.actions.size(), schedule_.ranks));
    for (const int32_t rank : schedule_.rank_of_stage)
      if (rank < 0 || rank >= schedule_.ranks) wrong(fmt::format("a stage is placed on rank {}", rank));
    for (const auto& actions : schedule_.actions)
      for (const Action& action : actions)
        if (!in_range(action)) wrong(fmt::format("{} is out of range", to_string(action)));
    return problems_.empty();
  }

  bool in_range(const Action& action) const {
    if (action.stage < 0 || action.stage >= schedule_.stages() || action.op > Op::reduce_tied) return false;
    if (is_reduce(action.op)) return action.microbatch == -1;
    return action.microbatch >= 0 && action.microbatch < schedule_.microbatches;
  }

  // ---- one rank

  void read_list(int32_t rank) {
    std::map<int32_t, int32_t> next_weight;  // by stage
    for (size_t i = 0; i < list(rank).size(); ++i) {
      const Action& action = list(rank)[i];
      if (schedule_.rank_of(action.stage) != rank)
        report(ProblemKind::wrong_rank, rank,
               fmt::format("{} belongs on rank {}", to_string(action), schedule_.rank_of(action.stage)));
      if (!is_reduce(action.op)) note(rank, action, static_cast<int32_t>(i));
      if (gives_weight_gradient(action.op)) check_weight_order(rank, action, next_weight[action.stage]);
      if (!schedule_.lowered && !is_compute(action.op))
        report(ProblemKind::needless_communication, rank, to_string(action) + " before lowering");
    }
  }

  void note(int32_t rank, const Action& action, int32_t index) {
    Places& at = places(action.stage, action.microbatch);
    const auto set = [&](int32_t& place) {
      if (place != kNever) report(ProblemKind::duplicate_action, rank, to_string(action) + " is done twice");
      place = index;
    };
    switch (action.op) {
      case Op::forward: return set(at.forward);
      case Op::backward_input: return set(at.input);
      case Op::backward_weight: return set(at.weight);
      case Op::send_forward: return set(at.send_forward);
      case Op::recv_forward: return set(at.recv_forward);
      case Op::send_backward: return set(at.send_backward);
      case Op::recv_backward: return set(at.recv_backward);
      default:  // a full backward is both
        set(at.input);
        if (at.weight != kNever) return set(at.weight);
        at.weight = index;
    }
  }

  void check_weight_order(int32_t rank, const Action& action, int32_t& next) {
    if (action.microbatch < next)
      report(ProblemKind::weight_order, rank,
             fmt::format("{} comes after the weight gradient of microbatch {}", to_string(action), next - 1));
    next = std::max(next, action.microbatch + 1);
  }

  // ---- one stage and microbatch

  void check_computation(int32_t stage, int32_t microbatch) {
    const Places& at = places(stage, microbatch);
    const int32_t rank = schedule_.rank_of(stage);
    for (const auto& [place, op] : {std::pair{at.forward, Op::forward}, std::pair{at.input, Op::backward_input},
                                    std::pair{at.weight, Op::backward_weight}})
      if (place == kNever)
        report(ProblemKind::missing_action, rank, to_string({stage, op, microbatch}) + " is never done");
    if (at.forward == kNever || at.input == kNever || at.weight == kNever) return;
    if (at.input < at.forward || at.weight < at.input)
      report(ProblemKind::wrong_order, rank,
             fmt::format("stage {}, microbatch {}: not forward, input gradient, weight gradient", stage, microbatch));
  }

  void check_communication(int32_t stage, int32_t microbatch) {
    if (!schedule_.lowered) return;
    const Places& at = places(stage, microbatch);
    check_receive({stage, Op::recv_forward, microbatch}, at.recv_forward, at.forward, stage - 1);
    check_receive({stage, Op::recv_backward, microbatch}, at.recv_backward, at.input, stage + 1);
    check_send({stage, Op::send_forward, microbatch}, at.send_forward, at.forward, stage + 1);
    check_send({stage, Op::send_backward, microbatch}, at.send_backward, at.input, stage - 1);
  }

  bool crosses_ranks(int32_t stage, int32_t peer_stage) const {
    return peer_stage >= 0 && peer_stage < schedule_.stages() &&
           schedule_.rank_of(stage) != schedule_.rank_of(peer_stage);
  }

  bool is_needless(const Action& action, int32_t place, int32_t peer_stage) {
    if (crosses_ranks(action.stage, peer_stage)) return false;
    if (place != kNever)
      report(ProblemKind::needless_communication, schedule_.rank_of(action.stage), to_string(action));
    return true;
  }

  void check_receive(const Action& action, int32_t place, int32_t use, int32_t peer_stage) {
    if (is_needless(action, place, peer_stage)) return;
    if (place == kNever || (use != kNever && place > use))
      report(ProblemKind::missing_communication, schedule_.rank_of(action.stage),
             fmt::format("{} is not done before its use", to_string(action)));
  }

  void check_send(const Action& action, int32_t place, int32_t made, int32_t peer_stage) {
    if (is_needless(action, place, peer_stage)) return;
    if (place == kNever || place < made)
      report(ProblemKind::missing_communication, schedule_.rank_of(action.stage),
             fmt::format("{} is not done after its value is made", to_string(action)));
  }

  void check_reductions() {
    std::map<std::pair<int32_t, Op>, int32_t> done;
    for (int32_t rank = 0; rank < schedule_.ranks; ++rank)
      for (size_t i = 0; i < list(rank).size(); ++i) {
        const Action& action = list(rank)[i];
        if (!is_reduce(action.op)) continue;
        if (++done[{action.stage, action.op}] > 1)
          report(ProblemKind::duplicate_action, rank, to_string(action) + " is done twice");
        if (is_early(action, static_cast<int32_t>(i)))
          report(ProblemKind::early_reduction, rank, to_string(action) + " is not after the last weight gradient");
      }
  }

  // A tied reduction on one rank is a sum of both ends' gradients.
  bool is_early(const Action& action, int32_t place) {
    const int32_t last = schedule_.microbatches - 1, partner = schedule_.stages() - 1 - action.stage;
    const bool sums_both = action.op == Op::reduce_tied && !crosses_ranks(action.stage, partner);
    return places(action.stage, last).weight > place || (sums_both && places(partner, last).weight > place);
  }

  // ---- several ranks

  void check_edges() {
    using Edge = std::pair<int32_t, int32_t>;
    std::map<Edge, std::vector<Action>> sent, received;  // both as sends
    for (int32_t rank = 0; rank < schedule_.ranks; ++rank)
      for (const Action& action : list(rank)) {
        if (!is_send(action.op) && !is_recv(action.op)) continue;
        const Action peer = is_send(action.op) ? receive_of(action) : send_of(action);
        if (peer.stage < 0 || peer.stage >= schedule_.stages()) continue;
        const int32_t other = schedule_.rank_of(peer.stage);
        if (is_send(action.op))
          sent[{rank, other}].push_back(action);
        else
          received[{other, rank}].push_back(peer);
      }
    for (const auto& [edge, sends] : sent) check_edge(edge.first, edge.second, sends, received[edge]);
    for (const auto& [edge, receives] : received)
      if (!sent.contains(edge)) check_edge(edge.first, edge.second, {}, receives);
  }

  void check_edge(int32_t from, int32_t to, const std::vector<Action>& sends, const std::vector<Action>& receives) {
    const auto [send, receive] = std::mismatch(sends.begin(), sends.end(), receives.begin(), receives.end());
    if (send == sends.end() && receive == receives.end()) return;
    report(ProblemKind::unmatched_order, to,
           fmt::format("rank {} sends {} where rank {} receives {}", from,
                       send == sends.end() ? "nothing more" : to_string(*send), to,
                       receive == receives.end() ? "nothing more" : to_string(receive_of(*receive))));
  }

  void check_progress() {
    // An exchange shows what ranks wait for; only the replay shows what stages of one rank hand over.
    std::vector<size_t> stopped = replay(schedule_).stopped_at;
    if (schedule_.lowered) {
      const std::vector<size_t> exchanges = rendezvous(schedule_);
      std::transform(stopped.begin(), stopped.end(), exchanges.begin(), stopped.begin(),
                     [](size_t a, size_t b) { return std::min(a, b); });
    }
    for (int32_t rank = 0; rank < schedule_.ranks; ++rank) {
      const size_t at = stopped[static_cast<size_t>(rank)];
      if (at < list(rank).size())
        report(ProblemKind::deadlock, rank, fmt::format("waits for ever at {}", to_string(list(rank)[at])));
    }
  }

  void check_memory() {
    if (options_.max_live <= 0) return;
    const std::vector<int32_t> peaks = peak_live(schedule_);
    for (int32_t rank = 0; rank < schedule_.ranks; ++rank)
      if (const int32_t peak = peaks[static_cast<size_t>(rank)]; peak > options_.max_live)
        report(ProblemKind::too_much_memory, rank,
               fmt::format("{} microbatches' activations alive at once, {} allowed", peak, options_.max_live));
  }

  const Schedule& schedule_;
  const ValidateOptions& options_;
  std::vector<Places> places_;
  std::vector<Problem> problems_;
};

}  // namespace

std::string problem_name(ProblemKind kind) {
  switch (kind) {
    case ProblemKind::malformed: return "malformed";
    case ProblemKind::wrong_rank: return "wrong-rank";
    case ProblemKind::missing_action: return "missing-action";
    case ProblemKind::duplicate_action: return "duplicate-action";
    case ProblemKind::wrong_order: return "wrong-order";
    case ProblemKind::weight_order: return "weight-order";
    case ProblemKind::missing_communication: return "missing-communication";
    case ProblemKind::needless_communication: return "needless-communication";
    case ProblemKind::unmatched_order: return "unmatched-order";
    case ProblemKind::early_reduction: return "early-reduction";
    case ProblemKind::deadlock: return "deadlock";
    case ProblemKind::too_much_memory: break;
  }
  return "too-much-memory";
}

std::string to_string(const Problem& problem) {
  const std::string where = problem.rank < 0 ? "" : fmt::format("rank {}: ", problem.rank);
  return fmt::format("{}: {}{}", problem_name(problem.kind), where, problem.detail);
}

std::vector<Problem> validate(const Schedule& schedule, const ValidateOptions& options) {
  return Validator(schedule, options).run();
}

void require_valid(const Schedule& schedule, const ValidateOptions& options) {
  const std::vector<Problem> problems = validate(schedule, options);
  if (problems.empty()) return;
  std::string text = fmt::format("schedule {} is not valid", schedule.name);
  for (const Problem& problem : problems) text += "; " + to_string(problem);
  throw Error(ErrorCode::internal, "parallel/pipeline", text);
}

}  // namespace trident::pipeline
