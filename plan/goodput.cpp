#include "plan/goodput.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"
#include "core/philox.h"

namespace trident::plan {
namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();
constexpr double kDay = 86400;
constexpr double kMostInterruptions = 1e6;  // a tenth of a second

class Simulation {
 public:
  explicit Simulation(const GoodputJob& job)
      : job_(job),
        numbers_(job.seed, "goodput"),
        nodes_(std::ceil(static_cast<double>(job.accelerators) / static_cast<double>(job.accelerators_per_node))),
        spares_(job.spare_nodes),
        end_(job.days * kDay) {
    result_.checkpoint_interval_s = interval();
  }

  GoodputResult run() {
    double failure = draw();
    while (now_ < end_) {
      bring_back();
      if (missing_ > 0 && (!job_.elastic || missing_ >= nodes_)) {
        wait_for_repair();
        continue;
      }
      const double until = std::min({end_, failure, next_repair()});
      train(until);
      if (now_ < failure || now_ >= end_) continue;
      fail();
      failure = now_ + draw();
    }
    // A last part that no checkpoint holds counts: the run goes on after it.
    result_.total = now_;
    return result_;
  }

 private:
  double interval() const {
    if (job_.checkpoint_interval_s > 0) return job_.checkpoint_interval_s;
    const double share = job_.snapshots_in_memory ? job_.failures.node_share : 1;
    // Checkpoints that cost nothing come after every step, not more often.
    return std::max(job_.step_s,
                    recommended_interval(job_.checkpoint_cost_s, mean_time_between(job_) / std::max(share, 1e-12)));
  }

  double uniform() { return numbers_.uniform(drawn_++); }
  double draw() {
    const double mean = mean_time_between(job_);
    return std::isinf(mean) ? kNever : -mean * std::log1p(-uniform());
  }
  double speed() const { return (nodes_ - missing_) / nodes_; }
  double next_repair() const { return repairs_.empty() ? kNever : repairs_.front(); }

  void bring_back() {
    while (!repairs_.empty() && repairs_.front() <= now_) {
      repairs_.erase(repairs_.begin());
      if (missing_ > 0) {
        --missing_;
        if (job_.elastic) spend(result_.restart, job_.restart_s);  // to take it in again
      } else {
        ++spares_;
      }
    }
  }
  void wait_for_repair() {
    const double until = std::min(end_, next_repair());
    spend(result_.waiting, until - now_);
  }

  // Rounds of computing and a checkpoint, many at once.
  void train(double until) {
    const double round = result_.checkpoint_interval_s + job_.checkpoint_cost_s;
    while (now_ < until) {
      const double compute = std::min(until - now_, result_.checkpoint_interval_s - since_);
      compute_for(compute);
      if (since_ < result_.checkpoint_interval_s) return;
      spend(result_.checkpoint, std::min(job_.checkpoint_cost_s, std::max(0.0, until - now_)));
      since_ = 0;
      const double rounds = std::floor((until - now_) / round);
      if (rounds < 1 || std::isinf(rounds)) continue;
      add(rounds * result_.checkpoint_interval_s);
      now_ += rounds * result_.checkpoint_interval_s;
      spend(result_.checkpoint, rounds * job_.checkpoint_cost_s);
    }
  }
  void compute_for(double seconds) {
    add(seconds);
    now_ += seconds;
    since_ += seconds;
  }
  void add(double seconds) {
    result_.effective += seconds * speed();
    result_.degraded += seconds * (1 - speed());
  }
  void spend(double& kind, double seconds) {
    kind += seconds;
    now_ += seconds;
  }

  void fail() {
    ++result_.interruptions;
    const bool node = uniform() < job_.failures.node_share;
    const bool kept = !node && job_.snapshots_in_memory;
    // Half of a step on average is under way.
    const double again = kept ? std::min(since_, job_.step_s / 2) : since_;
    result_.lost += again;
    result_.effective -= again * speed();
    result_.degraded -= again * (1 - speed());
    if (!kept) since_ = 0;
    if (node) lose_node();
    spend(result_.detection, job_.detection_s);
    spend(result_.restart, job_.restart_s);
  }
  void lose_node() {
    ++result_.node_losses;
    repairs_.push_back(now_ + job_.failures.repair_hours * 3600);
    if (spares_ > 0)
      --spares_;
    else
      ++missing_;
  }

  const GoodputJob& job_;
  RandomStream numbers_;
  uint64_t drawn_ = 0;
  double nodes_;
  int64_t spares_;
  double end_;
  double now_ = 0;
  double since_ = 0;  // computed since the last checkpoint
  double missing_ = 0;
  std::vector<double> repairs_;  // when nodes are back, in order
  GoodputResult result_;
};

}  // namespace

double mean_time_between(const GoodputJob& job) {
  const double rate = job.failures.per_accelerator_hour * static_cast<double>(job.accelerators) / 3600;
  return rate > 0 ? 1 / rate : kNever;
}

double recommended_interval(double checkpoint_cost_s, double mean) {
  if (std::isinf(mean)) return kNever;
  if (checkpoint_cost_s >= 2 * mean) return mean;
  const double ratio = checkpoint_cost_s / (2 * mean);
  return std::sqrt(2 * checkpoint_cost_s * mean) * (1 + std::sqrt(ratio) / 3 + ratio / 9) - checkpoint_cost_s;
}

GoodputResult simulate_goodput(const GoodputJob& job) {
  if (!(job.days > 0) || !(job.step_s > 0))
    throw Error(ErrorCode::usage, "plan", fmt::format("{} days of steps of {} s", job.days, job.step_s),
                "both must be more than nothing");
  const double expected = job.days * kDay / mean_time_between(job);
  if (expected > kMostInterruptions)
    throw Error(ErrorCode::usage, "plan", fmt::format("{:.3g} interruptions in {} days", expected, job.days),
                fmt::format("simulate at most {:.0g}: fewer days, or a lower rate", kMostInterruptions));
  return Simulation(job).run();
}

}  // namespace trident::plan
