// Ranks as threads that share one GPU, so that their tensors go through the host's memory. Skipped without a GPU.
#include <gtest/gtest.h>

#include <tuple>

#include "core/cuda_devices.h"
#include "core/memory.h"
#include "parallel/comm/threads/thread_ranks.h"
#include "tests/parallel/comm/device_suite.h"

namespace trident {
namespace {

class Gpu final : public device_suite::TestDevice {
 public:
  void attach(Communicator& communicator) override { communicator.set_stream(stream_); }
  [[nodiscard]] Tensor allocate(int64_t elements, DType dtype) override {
    return allocate_zeroed(stream_.device(), {elements}, dtype);
  }
  void copy(const Tensor& from, const Tensor& to) override { trident::copy(stream_, from, to); }
  void synchronize() override { stream_.synchronize(); }

 private:
  Stream stream_ = Stream::cuda(0);
};

class GpuRanks : public testing::TestWithParam<std::tuple<device_suite::Case, int>> {
 protected:
  void SetUp() override {
    if (cuda_device_names().empty()) GTEST_SKIP() << "no GPU";
  }
};

TEST_P(GpuRanks, Do) {
  const auto& [suite_case, ranks] = GetParam();
  run_ranks(ranks, [run = suite_case.run](Communicator world) {
    Gpu gpu;
    gpu.attach(world);
    run(world, gpu);
  });
}

INSTANTIATE_TEST_SUITE_P(, GpuRanks, testing::Combine(testing::ValuesIn(device_suite::kCases), testing::Values(1, 4)),
                         comm_suite::NameOnRanks());

}  // namespace
}  // namespace trident
