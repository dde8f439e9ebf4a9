#include "parallel/comm/device_transport.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <thread>
#include <tuple>

#include "core/error.h"
#include "parallel/comm/threads/thread_backend.h"
#include "parallel/comm/threads/thread_ranks.h"
#include "tests/parallel/comm/device_suite.h"
#include "tests/parallel/comm/late_device.h"

namespace trident {
namespace {

using device_suite::Case;
using testing::AllOf;
using testing::HasSubstr;

/// Communicates in another world of the same ranks, in the order of launches.
class ShadowTransport final : public DeviceTransport {
 public:
  ShadowTransport(Communicator shadow, std::shared_ptr<LateDevice> device)
      : shadow_(std::move(shadow)), device_(std::move(device)) {}

  std::unique_ptr<DeviceOperation> start(const CollectiveCall& call) override {
    return std::make_unique<ShadowOperation>(device_.get(), [this, call] { return launch(call); });
  }
  std::unique_ptr<DeviceOperation> start(CollectiveOp op, const PeerMessage& message, CommBackend& /*host*/) override {
    return std::make_unique<ShadowOperation>(device_.get(), [this, op, message] {
      const Tensor data = view(message.data, static_cast<int64_t>(message.bytes / 2), Element::bf16);
      return op == CollectiveOp::send ? shadow_.send_async(data, message.peer, message.tag)
                                      : shadow_.recv_async(data, message.peer, message.tag);
    });
  }
  std::shared_ptr<DeviceTransport> split(int color, int key) override {
    const Communicator part = shadow_.split(color, key, "shadow");
    return color < 0 ? nullptr : std::make_shared<ShadowTransport>(part, device_);
  }
  void poll() override {}
  void abort() noexcept override {}
  std::shared_ptr<Buffer> allocate(size_t /*bytes*/) override { return nullptr; }

 private:
  class ShadowOperation final : public DeviceOperation {
   public:
    ShadowOperation(LateDevice* device, std::function<Pending()> start) : device_(device), start_(std::move(start)) {}
    bool launch() override {
      if (!start_) return true;
      device_->synchronize();
      pending_ = start_();
      start_ = nullptr;
      return true;
    }
    [[nodiscard]] bool passed() const override { return Pending(pending_).test(); }
    void join() override { pending_.wait(); }

   private:
    LateDevice* device_;
    std::function<Pending()> start_;
    Pending pending_;
  };

  static Tensor view(const std::byte* data, int64_t count, Element element) {
    constexpr DType dtypes[] = {DType::fp64, DType::fp32, DType::bf16, DType::int32};
    return Tensor::borrow(const_cast<std::byte*>(data), {count}, dtypes[static_cast<int>(element)]);
  }

  Pending launch(const CollectiveCall& call) {
    const auto on = [&](const std::byte* data, int64_t count) { return view(data, count, call.signature.element); };
    const auto sum = [](const std::vector<int64_t>& counts) {
      return std::accumulate(counts.begin(), counts.end(), int64_t{0});
    };
    switch (call.signature.op) {
      case CollectiveOp::all_reduce: return shadow_.all_reduce_async(on(call.out, call.count), call.signature.reduce);
      case CollectiveOp::reduce_scatter:
        return shadow_.reduce_scatter_async(on(call.in, call.count * shadow_.size()), on(call.out, call.count),
                                            call.signature.reduce);
      case CollectiveOp::all_gather:
        return shadow_.all_gather_async(on(call.in, call.count), on(call.out, call.count * shadow_.size()));
      case CollectiveOp::broadcast: return shadow_.broadcast_async(on(call.out, call.count), call.signature.root);
      default:
        return shadow_.all_to_all_async(on(call.in, sum(call.send_counts)), call.send_counts,
                                        on(call.out, sum(call.recv_counts)), call.recv_counts);
    }
  }

  Communicator shadow_;
  std::shared_ptr<LateDevice> device_;
};

class PosingDevice final : public device_suite::TestDevice {
 public:
  explicit PosingDevice(Communicator shadow) : shadow_(std::move(shadow)) {}
  void attach(Communicator& communicator) override {
    communicator.set_device(device);
    communicator.set_transport(std::make_shared<ShadowTransport>(shadow_, device));
  }
  [[nodiscard]] Tensor allocate(int64_t elements, DType dtype) override { return device->allocate({elements}, dtype); }
  void copy(const Tensor& from, const Tensor& to) override {
    device->compute([from, to] { std::memmove(to.raw(), from.raw(), from.bytes()); });
  }
  void synchronize() override { device->synchronize(); }

  std::shared_ptr<LateDevice> device = std::make_shared<LateDevice>(0u);

 private:
  Communicator shadow_;
};

/// Another world, whose calls move on by themselves only.
std::shared_ptr<ThreadGroup> make_shadow(int ranks) {
  std::vector<RankPlace> places(static_cast<size_t>(ranks));
  std::vector<int> numbers(places.size());
  std::iota(numbers.begin(), numbers.end(), 0);
  return std::make_shared<ThreadGroup>(std::move(places), std::move(numbers), nullptr, false);
}

class Native : public testing::TestWithParam<std::tuple<Case, int>> {};

TEST_P(Native, Do) {
  const auto& [suite_case, ranks] = GetParam();
  if (suite_case.run == device_suite::hosts_and_devices) GTEST_SKIP() << "not a transport's";
  const auto shadow = make_shadow(ranks);
  run_ranks(ranks, [&, run = suite_case.run](Communicator world) {
    PosingDevice device(Communicator(std::make_shared<ThreadBackend>(shadow, world.rank()), "shadow"));
    device.attach(world);
    run(world, device);
    EXPECT_EQ(device.device->copies(), 0) << "something went through the host";
  });
}

INSTANTIATE_TEST_SUITE_P(, Native, testing::Combine(testing::ValuesIn(device_suite::kCases), testing::Values(2, 3, 4)),
                         comm_suite::NameOnRanks());

/// Takes everything, and does nothing.
class StuckTransport final : public DeviceTransport {
 public:
  std::unique_ptr<DeviceOperation> start(const CollectiveCall& /*call*/) override {
    return std::make_unique<StuckOperation>();
  }
  std::unique_ptr<DeviceOperation> start(CollectiveOp, const PeerMessage&, CommBackend&) override {
    return std::make_unique<StuckOperation>();
  }
  std::shared_ptr<DeviceTransport> split(int, int) override { return nullptr; }
  void poll() override {
    if (!problem.empty()) throw Error(ErrorCode::internal, "", problem);
  }
  void abort() noexcept override { aborted = true; }
  std::shared_ptr<Buffer> allocate(size_t) override { return nullptr; }

  std::string problem;
  bool aborted = false;

 private:
  class StuckOperation final : public DeviceOperation {
    bool launch() override { return true; }
    [[nodiscard]] bool passed() const override { return false; }
    void join() override {}
  };
};

/// The error that one of two ranks gets whose device does not do what it was given.
Error error_of_stuck_device(const std::string& problem, bool other_gives_up) {
  ThreadRanksOptions options;
  options.comm.timeout = std::chrono::milliseconds(other_gives_up ? 60000 : 200);
  Error found(ErrorCode::internal, "", "none");
  run_ranks(
      2,
      [&](Communicator world) {
        const auto transport = std::make_shared<StuckTransport>();
        const auto device = std::make_shared<LateDevice>(0u);
        world.set_device(device);
        world.set_transport(transport);
        if (world.rank() == 1) {
          if (!other_gives_up) return;
          world.set_timeout(std::chrono::milliseconds(50));
          EXPECT_THROW(world.barrier(), Error);
          return;
        }
        transport->problem = problem;
        try {
          world.all_reduce(device->allocate({8}, DType::fp32));  // the device waits for it, not the host
          for (;;) world.progress();
        } catch (const Error& error) {
          found = error;
        }
        EXPECT_TRUE(transport->aborted);
      },
      options);
  return found;
}

TEST(NativeFailures, AnOperationThatNeverEndsIsFound) {
  const Error error = error_of_stuck_device("", false);
  EXPECT_EQ(error.code(), ErrorCode::peer_lost);
  EXPECT_THAT(error.what(), AllOf(HasSubstr("all_reduce #1 of 32 bytes did not finish in 0.2 s"),
                                  HasSubstr("the device has not done it")));
}

TEST(NativeFailures, WhatTheTransportFindsIsToldWithTheGroup) {
  const Error error = error_of_stuck_device("a link is down", false);
  EXPECT_EQ(error.code(), ErrorCode::peer_lost);
  EXPECT_THAT(error.what(), HasSubstr("group world: a link is down"));
}

TEST(NativeFailures, APeerThatGivesUpEndsIt) {
  const Error error = error_of_stuck_device("", true);
  EXPECT_EQ(error.code(), ErrorCode::peer_lost);
  EXPECT_THAT(error.what(), HasSubstr("another rank gave up"));
}

}  // namespace
}  // namespace trident
