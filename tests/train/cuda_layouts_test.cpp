// The crowning test once more with all ranks on one GPU: ranks are threads, what they tell one another passes through
// the host.

#include <gtest/gtest.h>

#include "core/cuda_devices.h"
#include "tests/train/layout_runs.h"

namespace trident::testing {
namespace {

class CudaLayouts : public ::testing::Test {
 protected:
  void SetUp() override {
    if (cuda_device_names().empty()) GTEST_SKIP() << "no GPU";
  }
};

LayoutRun run_of(Architecture architecture, DType compute, MeshShape mesh = {1, 1, 1}) {
  LayoutRun run;
  run.model = sized_model(architecture, architecture == Architecture::gpt2,
                          {.width = {64, 128},
                           .layers = 4,
                           .heads = {4, architecture == Architecture::llama ? 2 : 4},
                           .vocabulary = 67,
                           .positions = 32,
                           .deviation = 0.1});
  run.device = DeviceKind::cuda;
  run.compute = compute;
  run.sequence_length = 24;
  run.global_batch_size = 8;
  run.steps = 10;
  run.layout = layout_of(mesh);
  return run;
}

LayoutRun on_cpu(LayoutRun run) {
  run.device = DeviceKind::cpu;
  return run;
}

constexpr Architecture kBoth[] = {Architecture::gpt2, Architecture::llama};

/// Its columns and tokens are multiples of 16, also cut over two ranks.
LayoutRun fp8_model(Architecture architecture) {
  LayoutRun run = run_of(architecture, DType::bf16);
  run.model.hidden_size = 256;
  run.model.head_dim = 64;
  run.model.intermediate_size = 512;
  run.model.initializer_range = 0.02;
  run.sequence_length = 32;
  run.steps = 20;
  return run;
}

TEST_F(CudaLayouts, TrainsAsTheCpuDoes) {
  for (const Architecture architecture : kBoth) {
    const LayoutRun exact = run_of(architecture, DType::fp64), single = run_of(architecture, DType::fp32);
    EXPECT_EQ(difference(train(on_cpu(exact)), train(exact), 1e-9), "") << exact.to_string();
    const LayoutOutcome cpu = train(on_cpu(single)), gpu = train(single);
    for (size_t step = 0; step < cpu.losses.size(); ++step)
      EXPECT_NEAR(gpu.losses[step], cpu.losses[step], 1e-5 * cpu.losses[step]) << single.to_string();
  }
}

TEST_F(CudaLayouts, Bf16LossesStayNearThoseOfTheCpu) {
  for (const Architecture architecture : kBoth) {
    LayoutRun run = run_of(architecture, DType::bf16);
    run.model.hidden_size = 256;  // heads of 64: the tensor cores' kernels
    run.model.head_dim = 64;
    run.model.intermediate_size = 512;
    run.model.initializer_range = 0.02;
    const LayoutOutcome cpu = train(on_cpu(run)), gpu = train(run);
    for (size_t step = 0; step < cpu.losses.size(); ++step)
      EXPECT_NEAR(gpu.losses[step], cpu.losses[step], 1e-2) << run.to_string();
  }
}

TEST_F(CudaLayouts, Fp8LossesStayNearThoseOfBf16) {
  for (const Architecture architecture : kBoth) {
    const LayoutRun bf16 = fp8_model(architecture);
    LayoutRun fp8 = bf16;
    fp8.linear = LinearPrecision::fp8;
    const LayoutOutcome plain = train(bf16), rounded = train(fp8);
    for (size_t step = 0; step < plain.losses.size(); ++step)
      EXPECT_NEAR(rounded.losses[step], plain.losses[step], 5e-2) << fp8.to_string();
    // Of the same weights: rounding turns gradients, but keeps their length.
    EXPECT_NEAR(rounded.norms.front(), plain.norms.front(), 0.1 * plain.norms.front()) << fp8.to_string();
    EXPECT_NE(difference(plain, rounded), "") << "fp8 was not used";
    EXPECT_EQ(difference(rounded, train(fp8)), "") << fp8.to_string();
  }
}

TEST_F(CudaLayouts, TwiceIsTheSameBitForBit) {
  for (const Architecture architecture : kBoth) {
    for (const DType dtype : {DType::fp32, DType::bf16}) {
      const LayoutRun run = run_of(architecture, dtype);
      EXPECT_EQ(difference(train(run), train(run)), "") << run.to_string();
    }
  }
}

TEST_F(CudaLayouts, EightRanksOnOneCardAreOneRank) {
  for (const Architecture architecture : kBoth) {
    for (const MeshShape mesh : {MeshShape{2, 2, 2}, MeshShape{2, 1, 1}, MeshShape{1, 2, 1}, MeshShape{1, 1, 4}}) {
      const LayoutRun run = run_of(architecture, DType::fp64, mesh);
      EXPECT_EQ(difference(train(serial(run)), train(run), 1e-10), "") << run.to_string();
    }
  }
}

TEST_F(CudaLayouts, DpAndPpChangeNoBitAtFixedTp) {
  LayoutRun one = run_of(Architecture::gpt2, DType::fp32);
  one.layout.logical_shards = 4;
  for (const MeshShape mesh : {MeshShape{4, 1, 1}, MeshShape{2, 1, 2}, MeshShape{1, 1, 4}}) {
    LayoutRun run = one;
    run.layout.mesh = mesh;
    EXPECT_EQ(difference(train(one), train(run)), "") << run.to_string();
  }
}

}  // namespace
}  // namespace trident::testing
