// Published training steps beside the planner's predictions, as the tables of docs/planner.md.
//   build/bench/plan_tables [--fit] [FOLDER]
// FOLDER holds the cluster files (default configs/clusters). --fit searches the constants anew on the rows marked with
// a star and prints them; without it those in the files are used.

#include <fmt/format.h>

#include <cmath>
#include <string>
#include <vector>

#include "bench/plan_published.h"
#include "plan/fit.h"
#include "plan/predict.h"
#include "train/config/cluster_file.h"

namespace trident::plan {
namespace {

FittedConstants fit(const std::vector<PublishedRow>& rows, const ClusterSpec& cluster) {
  std::vector<MeasuredStep> steps;
  for (const PublishedRow& row : rows)
    if (row.fitted) steps.push_back({row.workload, row.layout, row.step_s});
  return fit_constants(cluster, steps);
}

void print(const std::string& title, const std::vector<PublishedRow>& rows, const ClusterSpec& cluster) {
  fmt::print("### {}\n\nmatmul {:.3g}, memory {:.3g}, attention {:.3g}\n\n", title, cluster.fitted.matmul,
             cluster.fitted.memory, cluster.fitted.attention);
  fmt::print("| table | row | published s | predicted s | error % | predicted MFU % (full) | bubble % |\n");
  fmt::print("|---|---|--:|--:|--:|--:|--:|\n");
  double sum = 0, worst = 0;
  int others = 0;
  for (const PublishedRow& row : rows) {
    const LayoutPlan plan = predict(row.workload, row.layout, cluster);
    const double error = plan.step_s / row.step_s - 1;
    fmt::print("| {} | {}{} | {:.2f} | {:.2f} | {:+.1f} | {:.1f} | {:.1f} |\n", row.table, row.name,
               row.fitted ? " *" : "", row.step_s, plan.step_s, 100 * error, 100 * plan.mfu, 100 * plan.bubble_ratio);
    sum += std::abs(error);
    worst = std::max(worst, std::abs(error));
    others += row.fitted ? 0 : 1;
  }
  fmt::print("\n{} rows, {} of them not fitted: mean error {:.1f} %, worst {:.1f} %.\n\n", rows.size(), others,
             100 * sum / static_cast<double>(rows.size()), 100 * worst);
}

int run(bool fits, const std::string& folder) {
  const std::vector<PublishedRow> a100 = published_on_a100(), h100 = published_on_h100();
  for (const auto& [file, rows] : {std::pair{"a100-80", &a100}, std::pair{"h100", &h100}}) {
    ClusterSpec cluster = load_cluster(folder + "/" + file + ".yaml");
    if (fits) cluster.fitted = fit(*rows, cluster);
    print(file, *rows, cluster);
  }
  return 0;
}

}  // namespace
}  // namespace trident::plan

int main(int argc, char** argv) {
  bool fits = false;
  std::string folder = "configs/clusters";
  for (int i = 1; i < argc; ++i) (std::string(argv[i]) == "--fit" ? (void)(fits = true) : (void)(folder = argv[i]));
  return trident::plan::run(fits, folder);
}
