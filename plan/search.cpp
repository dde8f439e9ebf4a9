#include "plan/search.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <tuple>

#include "plan/layout_memory.h"
#include "plan/predict.h"

namespace trident::plan {
namespace {

// Sizes beyond it leave too few microbatches to be worth their memory.
constexpr int64_t kLargestMicroBatch = 64;
constexpr double kGiB = 1024.0 * 1024 * 1024;

std::vector<int64_t> divisors(int64_t number) {
  std::vector<int64_t> found;
  for (int64_t i = 1; i * i <= number; ++i) {
    if (number % i != 0) continue;
    found.push_back(i);
    if (i * i != number) found.push_back(number / i);
  }
  std::sort(found.begin(), found.end());
  return found;
}

template <class T>
std::vector<T> given_or(const std::optional<T>& given, std::vector<T> all) {
  return given ? std::vector<T>{*given} : std::move(all);
}

class Search {
 public:
  Search(const Workload& workload, const ClusterSpec& cluster, const SearchSpace& space, bool even_only)
      : workload_(workload), cluster_(cluster), space_(space), even_only_(even_only) {}

  SearchResult run() {
    for (const int64_t tp : tensor_widths())
      for (const int64_t pp : pipeline_depths(tp))
        for (const int64_t dp : data_widths(tp, pp))
          if (mesh(dp, tp, pp) && even_only_ && workload_.global_batch_size % dp == 0) break;
    if (result_.layouts.empty() && result_.refused.empty()) refuse_all();
    rank();
    return std::move(result_);
  }

 private:
  // The longest stage has less than a third more layers than the mean, or the job says so.
  bool is_even(int64_t stages) const {
    if (stages == std::ssize(workload_.layers_per_stage)) return true;
    const int64_t layers = workload_.model.num_hidden_layers, longest = (layers + stages - 1) / stages;
    return 3 * longest * stages < 4 * layers;
  }

  // The nearest miss of a mesh: least memory, or else the first reason.
  struct Nearest {
    bool fits = false;
    double memory = 0;  // 0: nothing could run at all
    std::string reason;
  };

  std::vector<int64_t> tensor_widths() const {
    if (space_.tp) return {*space_.tp};
    std::vector<int64_t> widths;
    const int64_t most =
        std::min(space_.ranks, std::max<int64_t>(1, cluster_.shared ? space_.ranks : cluster_.accelerators_per_node));
    for (int64_t tp = 1; tp <= most; ++tp)
      if (!space_.use_all_ranks || space_.ranks % tp == 0) widths.push_back(tp);
    return widths;
  }
  std::vector<int64_t> pipeline_depths(int64_t tp) const {
    if (space_.pp) return {*space_.pp};
    std::vector<int64_t> depths;
    const int64_t most = std::min(space_.ranks / tp, workload_.model.num_hidden_layers);
    for (int64_t pp = 1; pp <= most; ++pp)
      if (space_.use_all_ranks ? (space_.ranks / tp) % pp == 0 : !even_only_ || is_even(pp)) depths.push_back(pp);
    return depths;
  }
  std::vector<int64_t> data_widths(int64_t tp, int64_t pp) const {
    if (space_.dp) {
      const int64_t all = *space_.dp * tp * pp;
      return all == space_.ranks || (!space_.use_all_ranks && all < space_.ranks) ? std::vector<int64_t>{*space_.dp}
                                                                                  : std::vector<int64_t>{};
    }
    if (space_.use_all_ranks)
      return space_.ranks % (tp * pp) == 0 ? std::vector{space_.ranks / (tp * pp)} : std::vector<int64_t>{};
    int64_t dp = std::min(space_.ranks / (tp * pp), workload_.global_batch_size);
    if (workload_.logical_shards > 0) dp = std::min(dp, workload_.logical_shards);
    if (dp < 1) return {};
    // Beside the most replicas those that share the batch evenly, of which the most that can run will do.
    std::vector<int64_t> widths{dp};
    std::vector<int64_t> even = divisors(workload_.global_batch_size);
    std::reverse(even.begin(), even.end());
    for (const int64_t width : even)
      if (width < dp) widths.push_back(width);
    return widths;
  }

  std::vector<int64_t> micro_batches(int64_t dp) const {
    if (space_.micro_batch_size) return {*space_.micro_batch_size};
    const int64_t share = std::max<int64_t>(1, workload_.global_batch_size / dp);
    std::vector<int64_t> sizes;
    for (const int64_t size : divisors(share))
      if (size <= kLargestMicroBatch) sizes.push_back(size);
    return sizes;
  }

  // Schedules with the virtual stages that each may have.
  std::vector<std::pair<std::string, int64_t>> schedules(int64_t pp) const {
    std::vector<std::pair<std::string, int64_t>> found;
    if (pp == 1 && !space_.schedule) return {{"1f1b", 1}};
    for (const std::string& name : given_or(space_.schedule, pipeline::schedule_names())) {
      if (name == "zb-v") {
        found.emplace_back(name, 2);
      } else if (name != "interleaved") {
        found.emplace_back(name, 1);
      } else {
        const int64_t most = workload_.model.num_hidden_layers / pp;
        std::vector<int64_t> all;
        for (int64_t v = 2; v <= most; ++v)
          if (!even_only_ || is_even(pp * v)) all.push_back(v);
        for (const int64_t v : given_or(space_.virtual_stages, all)) found.emplace_back(name, v);
      }
    }
    return found;
  }

  // Whether any of its layouts fits, or would if a rank had more memory.
  bool mesh(int64_t dp, int64_t tp, int64_t pp) {
    Nearest nearest;
    Layout layout;
    layout.dp = dp, layout.tp = tp, layout.pp = pp, layout.order = space_.order;
    const auto cuts = tp == 1 ? std::vector{false} : given_or(space_.sequence_parallel, {true, false});
    const auto zeros =
        (dp == 1 || even_only_) && !space_.zero_stage ? std::vector{1} : given_or(space_.zero_stage, {1, 0});
    const auto recomputes = given_or(space_.recompute, {Recompute::none, Recompute::selective, Recompute::full});
    for (const int64_t size : micro_batches(dp)) {
      layout.micro_batch_size = size;
      for (const bool cut : cuts) {
        layout.sequence_parallel = cut;
        for (const Recompute recompute : recomputes) {
          layout.recompute = recompute;
          const PartTimes parts = part_times(workload_, layout, cluster_);
          for (const auto& [name, v] : schedules(pp)) {
            layout.schedule = name, layout.virtual_stages = v;
            for (const int zero : zeros) {
              layout.zero_stage = zero;
              consider(layout, parts, nearest);
            }
          }
        }
      }
    }
    if (!nearest.fits && !nearest.reason.empty()) result_.refused.push_back({dp, tp, pp, nearest.reason});
    return nearest.fits || nearest.memory > 0;
  }

  void consider(const Layout& layout, const PartTimes& parts, Nearest& nearest) {
    ++result_.considered;
    if (auto reason = impossible(workload_, layout)) {
      if (nearest.reason.empty()) nearest.reason = std::move(*reason);
      return;
    }
    const std::vector<int32_t>& layers = cut(layout.stages());
    const MemoryByKind memory = layout_memory(workload_, layout, layers, snapshots_of_rank(cluster_, layout.ranks()));
    const double needed = needed_memory(cluster_, memory), most = memory_limit(layout);
    if (needed > most) {
      if (nearest.memory == 0 || needed < nearest.memory) {
        nearest.memory = needed;
        nearest.reason =
            fmt::format("needs {:.1f} of {:.1f} GiB even with {}", needed / kGiB, most / kGiB, description(layout));
      }
      return;
    }
    nearest.fits = true;
    ++result_.evaluated;
    LayoutPlan plan = predict(workload_, layout, cluster_, layers, parts, PipelineTime::closed_form);
    result_.layouts.push_back(std::move(plan));
  }

  static std::string description(const Layout& layout) {
    return fmt::format("{}{}, micro batch {}, recompute {}, ZeRO {}", layout.schedule,
                       layout.virtual_stages > 1 ? fmt::format(" of {}", layout.virtual_stages) : "",
                       layout.micro_batch_size, to_string(layout.recompute), layout.zero_stage);
  }

  double memory_limit(const Layout& layout) const {
    return space_.memory > 0 ? space_.memory : memory_of_a_rank(cluster_, layout.ranks());
  }

  const std::vector<int32_t>& cut(int64_t stages) {
    const auto [entry, is_new] = cuts_.try_emplace(stages);
    if (is_new) entry->second = layers_of_stages(workload_, stages);
    return entry->second;
  }

  void refuse_all() {
    result_.refused.push_back({space_.dp.value_or(1), space_.tp.value_or(1), space_.pp.value_or(1),
                               fmt::format("no dp x tp x pp of the given ones makes {} ranks", space_.ranks)});
  }

  void rank() {
    auto& layouts = result_.layouts;
    const auto faster = [](const LayoutPlan& a, const LayoutPlan& b) {
      return std::tuple(a.step_s, a.memory.on_device()) < std::tuple(b.step_s, b.memory.on_device());
    };
    std::stable_sort(layouts.begin(), layouts.end(), faster);
    const size_t best = std::min(layouts.size(), static_cast<size_t>(std::max<int64_t>(space_.simulate, 0)));
    for (size_t i = 0; i < best; ++i) {
      const MemoryByKind memory = layouts[i].memory;
      const Layout layout = layouts[i].layout;
      layouts[i] = predict(workload_, layout, cluster_, cut(layout.stages()), part_times(workload_, layout, cluster_),
                           PipelineTime::simulated);
      layouts[i].memory = memory;
    }
    std::stable_sort(layouts.begin(), layouts.begin() + static_cast<std::ptrdiff_t>(best), faster);
  }

  const Workload& workload_;
  const ClusterSpec& cluster_;
  const SearchSpace& space_;
  bool even_only_;
  std::map<int64_t, std::vector<int32_t>> cuts_;
  SearchResult result_;
};

}  // namespace

SearchResult search(const Workload& workload, const ClusterSpec& cluster, const SearchSpace& space) {
  return Search(workload, cluster, space, !space.use_all_ranks).run();
}

std::optional<LayoutPlan> best_layout(const Workload& workload, const ClusterSpec& cluster, SearchSpace space,
                                      const std::function<bool(const Layout&)>& accept) {
  space.use_all_ranks = false;
  space.simulate = 2;
  for (const bool even_only : {true, false}) {
    SearchResult result = Search(workload, cluster, space, even_only).run();
    for (LayoutPlan& plan : result.layouts)
      if (accept(plan.layout)) return std::move(plan);
  }
  return std::nullopt;
}

double memory_of_a_rank(const ClusterSpec& cluster, int64_t ranks) {
  if (!cluster.shared) return cluster.memory;
  const auto here = static_cast<double>(cluster.ranks_on_node(ranks));
  return cluster.memory * static_cast<double>(cluster.accelerators_per_node) / here;
}

double needed_memory(const ClusterSpec& cluster, const MemoryByKind& memory) {
  return memory.on_device() + (cluster.on_processors() ? memory.snapshots : 0);
}

}  // namespace trident::plan
