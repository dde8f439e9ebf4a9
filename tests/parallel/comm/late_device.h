#pragma once

#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include "core/error.h"
#include "parallel/comm/device_copies.h"

namespace trident {

/// Memory of the host that poses as a device's. Its queues move one task at a time, in random order, and only when
/// somebody asks whether a point has passed: everything is as late as it may be.
class LateDevice final : public DeviceCopies {
 public:
  explicit LateDevice(unsigned seed) : random_(seed) {}

  /// Memory that lives as long as the device: work that was given may still touch what the host has let go of.
  [[nodiscard]] Tensor allocate(Shape shape, DType dtype) {
    const size_t bytes = static_cast<size_t>(shape.elements()) * size_of(dtype);
    // NaN, or at least nothing that a test expects.
    memory_.emplace_back(bytes + 1, std::byte{0x7f});
    return {std::make_shared<Buffer>(memory_.back().data(), bytes, Device::cuda(0), nullptr), 0, shape, dtype};
  }
  /// Work on the compute stream.
  void compute(std::function<void()> work) { give(kCompute, std::move(work), nullptr); }
  void synchronize() {
    while (step()) {
    }
  }
  /// The device does nothing from now on.
  void stall() { stalled_ = true; }
  /// Between the host and the device, both ways.
  [[nodiscard]] int copies() const { return copies_; }

  MarkPtr mark() override { return give(kCompute, {}, nullptr); }
  MarkPtr fetch(const std::byte* device, std::byte* host, size_t bytes, const MarkPtr& after) override {
    return give(
        kFetch, [=, this] { copy(host, device, bytes); }, point(after));
  }
  MarkPtr store(const std::byte* host, std::byte* device, size_t bytes, const MarkPtr& after) override {
    auto done = give(
        kStore, [=, this] { copy(device, host, bytes); }, point(after));
    give(kCompute, {}, done);
    return done;
  }
  void move(const std::byte* from, std::byte* to, size_t bytes) override {
    compute([=] { std::memmove(to, from, bytes); });
  }
  std::shared_ptr<Buffer> allocate_host(size_t bytes) override {
    return std::make_shared<Buffer>(new std::byte[bytes], bytes, Device::cpu(),
                                    [](void* memory) { delete[] static_cast<std::byte*>(memory); });
  }
  void wait_for_copies() noexcept override {
    stalled_ = false;
    synchronize();
  }

 private:
  enum { kCompute, kFetch, kStore, kQueues };
  class Point final : public Mark {
   public:
    explicit Point(LateDevice* device) : device_(device) {}
    [[nodiscard]] bool passed() const override {
      if (!done) device_->step();
      return done;
    }
    bool done = false;

   private:
    LateDevice* device_;
  };
  using PointPtr = std::shared_ptr<Point>;
  struct Task {
    std::function<void()> work;
    PointPtr after, end;
  };

  static PointPtr point(const MarkPtr& mark) { return std::static_pointer_cast<Point>(mark); }

  PointPtr give(int queue, std::function<void()> work, PointPtr after) {
    auto end = std::make_shared<Point>(this);
    queues_[queue].push_back({std::move(work), std::move(after), end});
    return end;
  }
  void copy(std::byte* to, const std::byte* from, size_t bytes) {
    ++copies_;
    std::memmove(to, from, bytes);
  }
  /// False if nothing can run.
  bool step() {
    if (stalled_) return false;
    for (unsigned tried = 0, first = random_() % kQueues; tried < kQueues; ++tried) {
      auto& queue = queues_[(first + tried) % kQueues];
      if (queue.empty() || (queue.front().after && !queue.front().after->done)) continue;
      const Task task = std::move(queue.front());
      queue.pop_front();
      if (task.work) task.work();
      task.end->done = true;
      return true;
    }
    return false;
  }

  std::deque<std::vector<std::byte>> memory_;
  std::mt19937 random_;
  std::deque<Task> queues_[kQueues];
  bool stalled_ = false;
  int copies_ = 0;
};

}  // namespace trident
