// NCCL with communicators of one rank: every call is NCCL's own. Skipped without a GPU or without NCCL.
#include <gtest/gtest.h>

#include <thread>

#include "core/cuda_devices.h"
#include "core/memory.h"
#include "parallel/comm/nccl_transport.h"
#include "tests/parallel/comm/comm_values.h"

namespace trident {
namespace {

using comm_suite::expect_all;
using comm_suite::value;

class NcclTest : public testing::Test {
 protected:
  void SetUp() override {
    if (cuda_device_names().empty()) GTEST_SKIP() << "no GPU";
    if (!nccl_problem().empty()) GTEST_SKIP() << nccl_problem();
    gpu = Stream::cuda(0);
    world = connect_nccl(make_nccl_id(), 1, 0, gpu, std::chrono::seconds(60));
  }
  [[nodiscard]] Tensor filled(int64_t elements, DType dtype, int salt) const {
    const Tensor host = comm_suite::make_tensor(elements, dtype);
    comm_suite::fill(host, salt);
    Tensor device = allocate_zeroed(gpu.device(), {elements}, dtype);
    copy(gpu, host, device);
    gpu.synchronize();
    return device;
  }
  /// As Communicator does it: given, waited for by the stream, read by the stream's next work.
  static void run(DeviceTransport& transport, const CollectiveCall& call) {
    const auto operation = transport.start(call);
    while (!operation->launch()) std::this_thread::yield();
    operation->join();
  }
  static CollectiveCall call_of(CollectiveOp op, const Tensor& in, const Tensor& out) {
    CollectiveCall call;
    call.signature = {op, element_of(in.dtype()), ReduceOp::sum, 0, in.elements()};
    call.in = static_cast<const std::byte*>(in.raw());
    call.out = static_cast<std::byte*>(out.raw());
    call.count = in.elements();
    call.send_counts = call.recv_counts = {in.elements()};
    return call;
  }

  Stream gpu = Stream::meta();
  std::shared_ptr<DeviceTransport> world;
};

constexpr CollectiveOp kOps[] = {CollectiveOp::all_reduce, CollectiveOp::reduce_scatter, CollectiveOp::all_gather,
                                 CollectiveOp::broadcast, CollectiveOp::all_to_all};

TEST_F(NcclTest, EveryCallCopiesWithinOneRank) {
  for (const CollectiveOp op : kOps) {
    for (const DType dtype : comm_suite::kDTypes) {
      for (const int64_t n : {int64_t{0}, int64_t{1}, int64_t{5001}, int64_t{1} << 20}) {
        const Tensor in = filled(n, dtype, 1);
        const Tensor out = allocate_zeroed(gpu.device(), {n}, dtype);
        run(*world, call_of(op, in, out));
        expect_all(to_host(gpu, out), std::string(to_string(op)), [&](int64_t i) { return value(1, i, dtype, false); });
      }
    }
  }
}

TEST_F(NcclTest, SplitsAndGroupsInARow) {
  EXPECT_EQ(world->split(-1, 0), nullptr);
  const auto half = world->split(3, 0), quarter = half->split(0, 0);
  Tensor a = filled(70001, DType::fp32, 2), b = allocate_zeroed(gpu.device(), {70001}, DType::fp32);
  for (int round = 0; round < 30; ++round) {
    run(round % 2 == 0 ? *half : *quarter, call_of(kOps[round % 5], a, b));
    std::swap(a, b);
  }
  expect_all(to_host(gpu, a), "thirty calls", [&](int64_t i) { return value(2, i, DType::fp32, false); });
  half->poll();
}

TEST_F(NcclTest, CallsTakeWhatTheStreamWasGivenBefore) {
  const Tensor a = filled(1 << 22, DType::fp32, 0), b = allocate_zeroed(gpu.device(), {1 << 22}, DType::fp32);
  for (int round = 1; round <= 5; ++round) {
    const Tensor next = filled(1 << 22, DType::fp32, round);
    copy(gpu, next, a);
    run(*world, call_of(CollectiveOp::all_gather, a, b));
    set_zero(gpu, a);  // after the call, which therefore does not see it
    expect_all(to_host(gpu, b.flat_view(0, {50000})), "what was there",
               [&](int64_t i) { return value(round, i, DType::fp32, false); });
  }
}

TEST_F(NcclTest, HandsOutRegisteredMemory) {
  const int64_t n = 100003;
  const Tensor memory(world->allocate(static_cast<size_t>(n) * 4), 0, {n}, DType::fp32);
  EXPECT_EQ(memory.device(), gpu.device());
  expect_all(to_host(gpu, memory), "zeroed", [](int64_t) { return 0.0; });
  copy(gpu, filled(n, DType::fp32, 4), memory);
  run(*world, call_of(CollectiveOp::all_reduce, memory, memory));
  expect_all(to_host(gpu, memory), "in place", [](int64_t i) { return value(4, i, DType::fp32, false); });
}

TEST_F(NcclTest, AnAbortEndsAGroup) {
  const Tensor a = filled(100, DType::fp32, 0);
  const auto part = world->split(0, 0);
  part->abort();
  EXPECT_THROW(run(*part, call_of(CollectiveOp::all_reduce, a, a)), Error);
  EXPECT_THROW(part->poll(), Error);
  run(*world, call_of(CollectiveOp::all_reduce, a, a));
  gpu.synchronize();
}

}  // namespace
}  // namespace trident
