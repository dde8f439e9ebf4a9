#include <gtest/gtest.h>

#include <cmath>

#include "bench/plan_published.h"
#include "plan/predict.h"
#include "train/config/cluster_file.h"

namespace trident::plan {
namespace {

ClusterSpec ready(const std::string& name) {
  return load_cluster(std::string(TRIDENT_SOURCE_DIR) + "/configs/clusters/" + name + ".yaml");
}

// Korthikanti et al. 2022, table 5: step times and the MFU that the paper gives for them.
TEST(Published, TheMfuFormulaIsThePapers) {
  struct Entry {
    int64_t layers, hidden, heads, batch, gpus;
    double step_s, mfu;
  };
  for (const Entry& e :
       {Entry{48, 6144, 64, 4, 8, 1.10, 41.5}, Entry{96, 12288, 96, 64, 64, 13.75, 51.4},
        Entry{105, 20480, 128, 280, 280, 37.83, 56.0}, Entry{128, 25600, 160, 512, 512, 71.49, 56.3}}) {
    const double flops = flops_per_token(published_gpt(e.layers, e.hidden, e.heads), 2048) * 2048.0;
    const double mfu = 100 * flops * static_cast<double>(e.batch) / e.step_s / static_cast<double>(e.gpus) / 312e12;
    EXPECT_NEAR(mfu, e.mfu, 0.2) << e.layers << " layers";
  }
}

struct Errors {
  double mean = 0, worst = 0;
  size_t fitted = 0;
};

Errors errors_of(const std::vector<PublishedRow>& rows, const ClusterSpec& cluster) {
  Errors errors;
  for (const PublishedRow& row : rows) {
    EXPECT_EQ(impossible(row.workload, row.layout), std::nullopt) << row.table << ' ' << row.name;
    const double error = std::abs(predict(row.workload, row.layout, cluster).step_s / row.step_s - 1);
    errors.mean += error / static_cast<double>(rows.size());
    errors.worst = std::max(errors.worst, error);
    errors.fitted += row.fitted ? 1 : 0;
  }
  return errors;
}

// The files' constants hold what docs/planner.md says of them.
TEST(Published, StepTimesOnA100) {
  const Errors errors = errors_of(published_on_a100(), ready("a100-80"));
  EXPECT_LE(errors.mean, 0.05);
  EXPECT_LE(errors.worst, 0.15);
  EXPECT_LE(errors.fitted, 3U);
}

TEST(Published, StepTimesOnH100) {
  const Errors errors = errors_of(published_on_h100(), ready("h100"));
  EXPECT_LE(errors.mean, 0.05);
  EXPECT_LE(errors.worst, 0.15);
  EXPECT_LE(errors.fitted, 3U);
}

TEST(Published, EveryReadyClusterFileIsRead) {
  for (const char* name : {"a100-80", "h100", "h200", "trainium2"}) {
    const ClusterSpec spec = ready(name);
    EXPECT_EQ(spec.name, name);
    EXPECT_GT(spec.peak_bf16, 0);
    EXPECT_GT(spec.failures.per_accelerator_hour, 0);
    EXPECT_EQ(to_yaml(parse_cluster(to_yaml(spec), "again")), to_yaml(spec));
  }
}

}  // namespace
}  // namespace trident::plan
