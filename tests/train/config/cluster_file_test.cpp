#include "train/config/cluster_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "train/config/diagnostics.h"

namespace trident {
namespace {

using testing::HasSubstr;

constexpr const char* kCluster = R"(name: test
nodes: 4
accelerators_per_node: 8
accelerator:
  peak_tflops: {bf16: 312, fp32: 19.5, fp64: 9.7}
  memory_gib: 80
  memory_gb_per_s: 2039
network:
  inside: {gb_per_s: 300, efficiency: 0.65, latency_us: 2}
  between: {gb_per_s: 25}
  levels:
    - {name: pod, accelerators: 1024, oversubscription: 7}
    - {name: rack, accelerators: 32, oversubscription: 2}
fitted: {matmul: 0.7, memory: 0.6, attention: 0.5}
)";

std::string problems_of(const std::string& text) {
  try {
    static_cast<void>(parse_cluster(text, "machine.yaml"));
  } catch (const ConfigErrors& error) {
    return error.what();
  }
  return {};
}

std::string with(const std::string& from, const std::string& to) {
  std::string text = kCluster;
  return text.replace(text.find(from), from.size(), to);
}

TEST(ClusterFile, UnitsBecomeThePlanners) {
  const plan::ClusterSpec spec = parse_cluster(kCluster, "machine.yaml");
  EXPECT_EQ(spec.name, "test");
  EXPECT_EQ(spec.accelerators(), 32);
  EXPECT_DOUBLE_EQ(spec.peak(DType::bf16), 312e12);
  EXPECT_DOUBLE_EQ(spec.memory, 80.0 * (1 << 30));
  EXPECT_DOUBLE_EQ(spec.inside.rate(), 195e9);
  EXPECT_DOUBLE_EQ(spec.inside.latency, 2e-6);
  EXPECT_DOUBLE_EQ(spec.between.rate(), 25e9);
  EXPECT_TRUE(spec.overlap);
  EXPECT_FALSE(spec.shared);
  ASSERT_EQ(spec.levels.size(), 2U);
  EXPECT_EQ(spec.levels[0].name, "rack");  // from small to large
}

TEST(ClusterFile, WhatIsWrittenReadsBackEqual) {
  const std::string text = to_yaml(parse_cluster(kCluster, "machine.yaml"));
  EXPECT_EQ(to_yaml(parse_cluster(text, "again.yaml")), text);
}

TEST(ClusterFile, ErrorsSayWhatWhereAndWhatToDo) {
  EXPECT_THAT(problems_of(with("nodes: 4", "nodes: 0")), HasSubstr("machine.yaml:2:8: nodes is 0, expected a whole"));
  EXPECT_THAT(problems_of(with("memory_gib: 80", "memory_gib: many")),
              HasSubstr("accelerator.memory_gib is many, expected a number; write e.g. accelerator.memory_gib: 80"));
  EXPECT_THAT(problems_of(with("efficiency: 0.65", "efficiency: 6.5")), HasSubstr("at most 1"));
  EXPECT_THAT(problems_of(with("  memory_gib: 80\n", "")), HasSubstr("accelerator.memory_gib is missing"));
  EXPECT_THAT(problems_of(with("matmul:", "matmull:")), HasSubstr("did you mean fitted.matmul?"));
  EXPECT_THAT(problems_of(with("nodes: 4", "nodes: 4\nmemory_gib: 80")),
              HasSubstr("did you mean accelerator.memory_gib?"));
  EXPECT_THAT(problems_of(with("oversubscription: 7", "oversubscription: 0.5")), HasSubstr("of at least 1"));
  EXPECT_THAT(problems_of("[1, 2]"), HasSubstr("mapping"));
}

// Rates are divided by; what is no number must not pass for one either.
TEST(ClusterFile, WhatWouldMakeNonsenseIsRefused) {
  for (const auto& [from, to] :
       {std::pair("matmul: 0.7", "matmul: 0"), std::pair("memory: 0.6", "memory: -1"),
        std::pair("efficiency: 0.65", "efficiency: 0"), std::pair("fp32: 19.5", "fp32: .nan"),
        std::pair("bf16: 312", "bf16: .inf"), std::pair("latency_us: 2", "latency_us: 1e400"),
        std::pair("gb_per_s: 25", "gb_per_s: []"), std::pair("nodes: 4", "nodes: 1e30"),
        std::pair("oversubscription: 7", "oversubscription: nan"), std::pair("accelerators: 32", "accelerators: 0")})
    EXPECT_THAT(problems_of(with(from, to)), HasSubstr("expected")) << to;
  EXPECT_THAT(problems_of(with("name: pod", "nmae: pod")), HasSubstr("unknown key network.levels.nmae"));
  EXPECT_THAT(problems_of(with("latency_us: 2", "latency_us: 0")), "");
  EXPECT_THAT(problems_of("fitted: {}\nnetwork: {levels: []}\n"), HasSubstr("network.inside.gb_per_s is missing"));
}

TEST(ClusterFile, AllProblemsAreToldAtOnce) {
  const std::string problems = problems_of("name: x\nnodes: -1\n");
  for (const char* missing : {"nodes is -1", "accelerators_per_node", "peak_tflops.bf16", "network.inside.gb_per_s"})
    EXPECT_THAT(problems, HasSubstr(missing));
}

TEST(ClusterFile, OneThatIsNotThereIsAnotherError) {
  try {
    static_cast<void>(load_cluster("/none/machine.yaml"));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::input_missing);
    EXPECT_THAT(error.what(), HasSubstr("configs/clusters"));
  }
}

}  // namespace
}  // namespace trident
