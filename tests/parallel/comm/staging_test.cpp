#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <tuple>

#include "core/error.h"
#include "parallel/comm/pinned_pool.h"
#include "parallel/comm/threads/thread_ranks.h"
#include "tests/parallel/comm/comm_suite.h"
#include "tests/parallel/comm/device_suite.h"
#include "tests/parallel/comm/late_device.h"

namespace trident {
namespace {

using device_suite::Case;
using std::chrono::milliseconds;
using testing::AllOf;
using testing::HasSubstr;

class PosingDevice final : public device_suite::TestDevice {
 public:
  explicit PosingDevice(int seed) : device(std::make_shared<LateDevice>(static_cast<unsigned>(seed))) {}
  void attach(Communicator& communicator) override { communicator.set_device(device); }
  [[nodiscard]] Tensor allocate(int64_t elements, DType dtype) override { return device->allocate({elements}, dtype); }
  void copy(const Tensor& from, const Tensor& to) override {
    device->compute([from, to] { std::memmove(to.raw(), from.raw(), from.bytes()); });
  }
  void synchronize() override { device->synchronize(); }

  std::shared_ptr<LateDevice> device;
};

using Rank = std::function<void(const Communicator& world, PosingDevice& device)>;

void run_with_devices(int ranks, const Rank& rank_main, const ThreadRanksOptions& options = {}) {
  run_ranks(
      ranks,
      [&](Communicator world) {
        PosingDevice device(world.rank());
        device.attach(world);
        rank_main(world, device);
      },
      options);
}

class Staging : public testing::TestWithParam<std::tuple<Case, int, bool>> {};

TEST_P(Staging, Do) {
  const auto& [suite_case, ranks, private_memory] = GetParam();
  ThreadRanksOptions options;
  options.private_memory = private_memory;
  run_with_devices(
      ranks, [run = suite_case.run](const Communicator& world, PosingDevice& device) { run(world, device); }, options);
}

INSTANTIATE_TEST_SUITE_P(
    , Staging, testing::Combine(testing::ValuesIn(device_suite::kCases), testing::Values(1, 2, 3, 4), testing::Bool()),
    [](const auto& test) { return comm_suite::NameOnRanks()(test) + (std::get<2>(test.param) ? "Apart" : ""); });

/// What the host's tensors need goes on working beside, and touches no device.
class HostBesideDevice : public testing::TestWithParam<comm_suite::Case> {};

TEST_P(HostBesideDevice, Do) {
  run_with_devices(4, [](const Communicator& world, PosingDevice& device) {
    GetParam().run(world);
    EXPECT_EQ(device.device->copies(), 0);
  });
}

INSTANTIATE_TEST_SUITE_P(, HostBesideDevice, testing::ValuesIn(comm_suite::kCases),
                         [](const auto& test) { return std::string(test.param.name); });

Error error_of(int ranks, const Rank& rank_main) {
  ThreadRanksOptions options;
  options.comm.timeout = milliseconds(300);
  return comm_suite::error_of([&] { run_with_devices(ranks, rank_main, options); });
}

TEST(StagingFailures, NamesTheRankThatDoesNotCome) {
  const Error error = error_of(3, [](const Communicator& world, PosingDevice& device) {
    const Tensor a = device.filled(1000, DType::fp32, 0), b = device.filled(10, DType::fp32, 0);
    if (world.rank() == 1) return;
    Pending first = world.all_reduce_async(a);
    world.all_reduce(b);  // queued behind the other
  });
  EXPECT_EQ(error.code(), ErrorCode::peer_lost);
  EXPECT_THAT(error.what(), AllOf(HasSubstr("all_reduce #1 of 4000 bytes"), HasSubstr("not arrived: rank 1")));
}

TEST(StagingFailures, SaysWhenTheDeviceIsTheReason) {
  const Error error = error_of(2, [](const Communicator& world, PosingDevice& device) {
    const Tensor a = device.filled(1000, DType::fp32, 0);
    if (world.rank() == 0) device.device->stall();
    world.send(a, 1 - world.rank());
  });
  EXPECT_EQ(error.code(), ErrorCode::peer_lost);
  EXPECT_THAT(error.what(), HasSubstr("has not"));
}

TEST(StagingFailures, AStalledDeviceFailsItsRank) {
  const Error error = error_of(2, [](const Communicator& world, PosingDevice& device) {
    const Tensor a = device.filled(1000, DType::fp32, 0);
    device.device->stall();
    world.all_reduce(a);
  });
  EXPECT_EQ(error.code(), ErrorCode::peer_lost);
  EXPECT_THAT(error.what(), AllOf(HasSubstr("all_reduce #1"), HasSubstr("its data has not come from the device")));
}

TEST(StagingFailures, DivergingCallsAreFound) {
  const Error error = error_of(2, [](const Communicator& world, PosingDevice& device) {
    world.all_reduce(device.filled(world.rank() == 0 ? 16 : 8, DType::fp32, 0));
  });
  EXPECT_EQ(error.code(), ErrorCode::internal);
  EXPECT_THAT(error.what(), AllOf(HasSubstr("diverge"), HasSubstr("16 fp32"), HasSubstr("8 fp32")));
}

TEST(StagingFailures, MessagesOfAnotherSizeAreRefused) {
  const Error error = error_of(2, [](const Communicator& world, PosingDevice& device) {
    const Tensor a = device.filled(4 + world.rank(), DType::fp32, 0);
    if (world.rank() == 0) {
      world.send(a, 1);
    } else {
      world.recv(a, 0);
    }
  });
  EXPECT_EQ(error.code(), ErrorCode::internal);
  EXPECT_THAT(error.what(), HasSubstr("16 bytes"));
}

TEST(StagingFailures, ADeviceTensorNeedsAStream) {
  run_ranks(2, [](const Communicator& world) {
    LateDevice device(0);
    const Tensor a = device.allocate({8}, DType::fp32);
    EXPECT_THROW(world.all_reduce(a), Error);
    EXPECT_THROW(world.send(a, 1 - world.rank()), Error);
  });
  LateDevice device(0);
  const Tensor in = device.allocate({8}, DType::fp32), out = device.allocate({8}, DType::fp32);
  EXPECT_THROW(Communicator::self().all_gather(in, out), Error);
}

TEST(StagingFailures, OneCallIsOnOneDevice) {
  const Error error = error_of(2, [](const Communicator& world, PosingDevice& device) {
    const Tensor host = comm_suite::make_tensor(8, DType::fp32);
    world.all_gather(device.filled(4, DType::fp32, 0), host);
  });
  EXPECT_THAT(error.what(), HasSubstr("the other does not"));
}

// Out of one another's reach: what peers work on in place must not be dropped.
TEST(StagingDropped, CopiesUnderWayKeepTheirMemory) {
  ThreadRanksOptions options;
  options.private_memory = true;
  for (int round = 0; round < 20; ++round) {
    run_with_devices(
        2,
        [](Communicator world, PosingDevice& device) {
          const Tensor a = device.filled(5000, DType::fp32, 0), b = device.filled(5000, DType::fp32, 0);
          (void)world.all_reduce_async(a);
          (void)world.recv_async(b, 1 - world.rank());
          world = Communicator::self();
        },
        options);
  }
}

TEST(StagingProgress, IsToldOfDeviceCallsTheSame) {
  struct Counter : ProgressSink {
    void entered(const ProgressRecord& record) override { bytes += record.bytes, ++entries; }
    void left(const ProgressRecord& /*record*/) override { ++exits; }
    int64_t bytes = 0;
    int entries = 0, exits = 0;
  } counters[2];
  run_with_devices(2, [&](Communicator world, PosingDevice& device) {
    world.set_progress_sink(&counters[world.rank()]);
    world.all_reduce(device.filled(10, DType::bf16, 0));
    world.reduce_scatter(device.filled(10, DType::bf16, 0), device.allocate(5, DType::bf16));
    EXPECT_EQ(world.sequence(), 2u);
    EXPECT_GT(world.waited_seconds(), 0.0);
  });
  EXPECT_EQ(counters[0].bytes, 40);
  EXPECT_EQ(counters[0].entries, 2);
  EXPECT_EQ(counters[0].exits, 2);
}

TEST(PinnedPool, SizesFallIntoFewClasses) {
  EXPECT_EQ(PinnedPool::size_class(1), 4096u);
  EXPECT_EQ(PinnedPool::size_class(4096), 4096u);
  EXPECT_EQ(PinnedPool::size_class(4097), 5120u);
  EXPECT_EQ(PinnedPool::size_class(8192), 8192u);
  EXPECT_EQ(PinnedPool::size_class(8193), 10240u);
  for (size_t bytes = 5000; bytes < (size_t{1} << 36); bytes += bytes / 7) {
    const size_t rounded = PinnedPool::size_class(bytes);
    EXPECT_GE(rounded, bytes);
    EXPECT_LE(rounded, bytes + bytes / 4 + 1);
    EXPECT_EQ(PinnedPool::size_class(rounded), rounded);
  }
}

TEST(PinnedPool, MemoryInUseIsNotHandedOut) {
  const auto device = std::make_shared<LateDevice>(1u);
  PinnedPool pool(device);
  PinnedPool::Block first = pool.take(10000);
  std::byte* const memory = first.data();
  const Tensor there = device->allocate({10000}, DType::bf16);
  first.last_use = device->store(memory, static_cast<std::byte*>(there.raw()), 10000, device->mark());
  pool.give_back(first);
  EXPECT_NE(pool.take(9999).data(), memory);
  device->synchronize();
  EXPECT_EQ(pool.take(10001).data(), memory);
  EXPECT_EQ(pool.take(0).data(), nullptr);
  EXPECT_EQ(pool.bytes(), 2 * PinnedPool::size_class(10000));
}

}  // namespace
}  // namespace trident
