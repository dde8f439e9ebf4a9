#pragma once

#include <numeric>
#include <string>
#include <vector>

#include "tests/parallel/comm/comm_values.h"

/// What communication on a device's memory must do, as functions of one rank; run with memory that poses as a device's
/// and on a GPU.
namespace trident::device_suite {

using comm_suite::expect_all;
using comm_suite::fill;
using comm_suite::label;
using comm_suite::make_tensor;
using comm_suite::reduced;
using comm_suite::value;

/// One rank's device, with an ordered queue of work.
class TestDevice {
 public:
  virtual ~TestDevice() = default;
  /// With `communicator`'s tensors from now on.
  virtual void attach(Communicator& communicator) = 0;
  /// Memory that holds nothing useful.
  [[nodiscard]] virtual Tensor allocate(int64_t elements, DType dtype) = 0;
  /// Copies, in the order of the queue; `host` must not change any more.
  virtual void copy(const Tensor& from, const Tensor& to) = 0;
  virtual void synchronize() = 0;

  /// The queue gives the tensor fill()'s values, not at once.
  [[nodiscard]] Tensor filled(int64_t elements, DType dtype, int salt) {
    kept_.push_back(make_tensor(elements, dtype));
    fill(kept_.back(), salt, true);
    Tensor device = allocate(elements, dtype);
    copy(kept_.back(), device);
    return device;
  }
  /// What the queue's work sees in the tensor now.
  [[nodiscard]] Tensor seen(const Tensor& device) {
    Tensor host = make_tensor(device.elements(), device.dtype());
    copy(device, host);
    synchronize();
    return host;
  }

 private:
  std::vector<Tensor> kept_;
};

// None, one, odd, beyond the inline limit of back ends, beyond their chunks of staging memory.
inline constexpr int64_t kSizes[] = {0, 1, 77, 5001, 140001};

inline void all_reduces(const Communicator& world, TestDevice& device) {
  for (const DType dtype : comm_suite::kDTypes) {
    for (const int64_t n : kSizes) {
      const ReduceOp op = n % 2 == 0 ? ReduceOp::max : ReduceOp::sum;
      const Tensor tensor = device.filled(n, dtype, world.rank());
      world.all_reduce(tensor, op);
      expect_all(device.seen(tensor).flat_view(0, {comm_suite::sampled(n)}), label("all_reduce", n, dtype),
                 [&](int64_t i) { return reduced(tensor, world.size(), i, op, true); });
    }
  }
}

inline void reduce_scatters(const Communicator& world, TestDevice& device) {
  const int64_t ranks = world.size();
  for (const int64_t n : kSizes) {
    const Tensor in = device.filled(n * ranks, DType::bf16, world.rank()), out = device.allocate(n, DType::bf16);
    const auto expected = [&](int64_t i) {
      return reduced(in, world.size(), world.rank() * n + i, ReduceOp::sum, true);
    };
    world.reduce_scatter(in, out);
    expect_all(device.seen(out).flat_view(0, {comm_suite::sampled(n)}), label("reduce_scatter", n, in.dtype()),
               expected);
    const Tensor mine = in.flat_view(world.rank() * n, {n});
    world.reduce_scatter(in, mine);
    expect_all(device.seen(mine).flat_view(0, {comm_suite::sampled(n)}), label("in place", n, in.dtype()), expected);
  }
}

inline void all_gathers(const Communicator& world, TestDevice& device) {
  const int64_t ranks = world.size();
  for (const int64_t n : kSizes) {
    const Tensor in = device.filled(n, DType::fp32, world.rank()), out = device.allocate(n * ranks, DType::fp32);
    const auto expected = [&](int64_t i) { return value(static_cast<int>(i / n), i % n, DType::fp32, true); };
    world.all_gather(in, out);
    expect_all(device.seen(out), label("all_gather", n, in.dtype()), expected);
    const Tensor again = device.allocate(n * ranks, DType::fp32), mine = again.flat_view(world.rank() * n, {n});
    device.copy(in, mine);
    world.all_gather(mine, again);
    expect_all(device.seen(again), label("all_gather in place", n, in.dtype()), expected);
  }
}

inline void broadcasts(const Communicator& world, TestDevice& device) {
  for (int root = 0; root < world.size(); ++root) {
    for (const int64_t n : kSizes) {
      const Tensor tensor = device.filled(n, DType::int32, world.rank());
      world.broadcast(tensor, root);
      expect_all(device.seen(tensor), label("broadcast", n, DType::int32),
                 [&](int64_t i) { return value(root, i, DType::int32, true); });
    }
  }
}

/// Rank a's part for rank b, of a size of both, now and then none.
inline int64_t uneven(int from, int to) { return (from + to) % 3 == 0 ? 0 : from * 31 + int64_t{to} * 10009 + 5; }

/// Copies on some ranks, readers on others. What a reader starts sees the parts.
inline void all_to_alls(const Communicator& world, TestDevice& device) {
  std::vector<int64_t> sends, recvs;
  for (int peer = 0; peer < world.size(); ++peer) {
    sends.push_back(uneven(world.rank(), peer));
    recvs.push_back(uneven(peer, world.rank()));
  }
  const int64_t sent = std::accumulate(sends.begin(), sends.end(), int64_t{0});
  const int64_t received = std::accumulate(recvs.begin(), recvs.end(), int64_t{0});
  for (int round = 0; round < 4; ++round) {
    const Tensor in = device.filled(sent, DType::fp32, world.rank() + 10 * round);
    const Tensor out = device.allocate(received, DType::fp32);
    std::vector<Tensor> parts;
    PartsReader read;
    int calls = 0;
    if ((world.rank() + round) % 2 == 0) {
      read = [&](std::span<const std::byte* const> given) {
        ++calls;
        for (size_t peer = 0; peer < given.size(); ++peer) {
          auto* data = const_cast<std::byte*>(given[peer]);
          parts.push_back(make_tensor(recvs[peer], DType::fp32));
          device.copy(Tensor::borrow(data, {recvs[peer]}, DType::fp32, in.device()), parts.back());
        }
      };
    }
    const bool reads = static_cast<bool>(read);
    world.all_to_all_async(in, sends, out, recvs, std::move(read)).wait();
    EXPECT_EQ(calls, reads ? 1 : 0);
    const Tensor copied = device.seen(out);
    int64_t at = 0;
    for (int peer = 0; peer < world.size(); ++peer) {
      int64_t first = 0;
      for (int other = 0; other < world.rank(); ++other) first += uneven(peer, other);
      const auto expected = [&](int64_t i) { return value(peer + 10 * round, first + i, DType::fp32, true); };
      const int64_t count = recvs[static_cast<size_t>(peer)];
      expect_all(copied.flat_view(at, {count}), "all_to_all", expected);
      if (reads) expect_all(parts[static_cast<size_t>(peer)], "what a reader sees", expected);
      at += count;
    }
  }
}

/// Different sizes and tags, both ways around a ring, started before anything is waited for; host and device messages
/// of one tag keep their order.
inline void messages(const Communicator& world, TestDevice& device) {
  if (world.size() == 1) return;
  const int next = (world.rank() + 1) % world.size(), previous = (world.rank() + world.size() - 1) % world.size();
  for (const int64_t n : kSizes) {
    std::vector<Tensor> out, in;
    std::vector<Pending> pending;
    for (int i = 0; i < 4; ++i) {  // the odd ones from the host
      in.push_back(i % 2 == 1 ? make_tensor(n + 3 - i, DType::fp32) : device.allocate(n + 3 - i, DType::fp32));
      pending.push_back(world.recv_async(in.back(), previous, 5));
    }
    const Tensor back = device.allocate(n, DType::bf16);
    pending.push_back(world.recv_async(back, next, 2));
    for (int i = 0; i < 4; ++i) {
      if (i % 2 == 1) {
        out.push_back(make_tensor(n + 3 - i, DType::fp32));
        fill(out.back(), world.rank() + i, true);
      } else {
        out.push_back(device.filled(n + 3 - i, DType::fp32, world.rank() + i));
      }
      pending.push_back(world.send_async(out.back(), next, 5));
    }
    world.send(device.filled(n, DType::bf16, world.rank()), previous, 2);
    for (size_t i = pending.size(); i-- > 0;) pending[i].wait();
    for (int i = 0; i < 4; ++i) {
      const auto index = static_cast<size_t>(i);
      expect_all(i % 2 == 1 ? in[index] : device.seen(in[index]), "message " + std::to_string(i),
                 [&](int64_t k) { return value(previous + i, k, DType::fp32, true); });
    }
    expect_all(device.seen(back), "message back", [&](int64_t k) { return value(next, k, DType::bf16, true); });
  }
}

/// Calls of two groups and of the host under way at once, waited for in different orders; the same buffers again while
/// the device may still work on what came before.
inline void several_under_way(const Communicator& world, TestDevice& device) {
  const Communicator reversed = world.split(0, -world.rank(), "reversed");
  constexpr int64_t n = 30011;
  const Tensor gathered = device.allocate(n * world.size(), DType::fp32);
  for (int round = 0; round < 6; ++round) {
    const int salt = world.rank() + 3 * round;
    std::vector<Tensor> tensors;
    std::vector<Pending> pending;
    for (int i = 0; i < 3; ++i) {
      tensors.push_back(device.filled(n - i, DType::fp32, salt + i));
      const ReduceOp op = i == 2 ? ReduceOp::max : ReduceOp::sum;
      pending.push_back((i == 1 ? reversed : world).all_reduce_async(tensors.back(), op));
    }
    int64_t sum[] = {world.rank()};
    pending.push_back(world.all_reduce_async(std::span<int64_t>(sum)));
    const Tensor mine = device.filled(n, DType::fp32, salt);
    pending.push_back(world.all_gather_async(mine, gathered));
    const bool forward = world.rank() % 2 == 0;
    for (size_t i = 0; i < pending.size(); ++i) pending[forward ? i : pending.size() - 1 - i].wait();
    EXPECT_EQ(sum[0], world.size() * (world.size() - 1) / 2);
    const auto ranks = [&](int i, bool backwards) {
      return [=, &world](int64_t k) {
        const ReduceOp op = i == 2 ? ReduceOp::max : ReduceOp::sum;
        auto total =
            static_cast<float>(value((backwards ? world.size() - 1 : 0) + 3 * round + i, k, DType::fp32, true));
        for (int r = 1; r < world.size(); ++r) {
          const int rank = backwards ? world.size() - 1 - r : r;
          const auto x = static_cast<float>(value(rank + 3 * round + i, k, DType::fp32, true));
          total = op == ReduceOp::max ? std::max(total, x) : total + x;
        }
        return static_cast<double>(total);
      };
    };
    for (int i = 0; i < 3; ++i) expect_all(device.seen(tensors[static_cast<size_t>(i)]), "sum", ranks(i, i == 1));
    expect_all(device.seen(gathered), "gathered",
               [&](int64_t i) { return value(static_cast<int>(i / n) + 3 * round, i % n, DType::fp32, true); });
  }
}

/// Work that is given to the device right after wait() overwrites and reads as if the call had been done at once.
inline void order_of_the_stream(const Communicator& world, TestDevice& device) {
  constexpr int64_t n = 4099;
  const Tensor tensor = device.allocate(n, DType::fp32);
  std::vector<Tensor> results, inputs;
  for (int round = 0; round < 12; ++round) {
    inputs.push_back(device.filled(n, DType::fp32, world.rank() + round));
    device.copy(inputs.back(), tensor);
    world.all_reduce(tensor);
    results.push_back(device.allocate(n, DType::fp32));
    device.copy(tensor, results.back());
  }
  for (int round = 0; round < 12; ++round) {
    expect_all(device.seen(results[static_cast<size_t>(round)]), "round " + std::to_string(round), [&](int64_t k) {
      auto sum = static_cast<float>(value(round, k, DType::fp32, true));
      for (int r = 1; r < world.size(); ++r) sum += static_cast<float>(value(r + round, k, DType::fp32, true));
      return static_cast<double>(sum);
    });
  }
}

/// Some ranks' tensors on the host, the others' on the device.
inline void hosts_and_devices(const Communicator& world, TestDevice& device) {
  constexpr int64_t n = 9001;
  Tensor tensor = make_tensor(n, DType::fp32);
  fill(tensor, world.rank(), true);
  const bool on_device = world.rank() % 2 == 0;
  if (on_device) tensor = device.filled(n, DType::fp32, world.rank());
  world.all_reduce(tensor);
  expect_all(on_device ? device.seen(tensor) : tensor, "all_reduce",
             [&](int64_t k) { return reduced(tensor, world.size(), k, ReduceOp::sum, true); });
}

/// A group of one rank copies, if `out` is not `in`.
inline void alone(const Communicator& world, TestDevice& device) {
  const Communicator self = world.split(world.rank(), 0, "self");
  const Tensor in = device.filled(1001, DType::fp32, world.rank()), out = device.allocate(1001, DType::fp32);
  const auto expected = [&](int64_t k) { return value(world.rank(), k, DType::fp32, true); };
  self.all_gather(in, out);
  expect_all(device.seen(out), "all_gather", expected);
  const Tensor again = device.allocate(1001, DType::fp32);
  self.all_to_all(in, again);
  expect_all(device.seen(again), "all_to_all", expected);
  self.all_reduce(out);
  expect_all(device.seen(out), "all_reduce", expected);
}

using Case = comm_suite::SuiteCase<TestDevice>;

inline constexpr Case kCases[] = {
    {"AllReduces", all_reduces},
    {"ReduceScatters", reduce_scatters},
    {"AllGathers", all_gathers},
    {"Broadcasts", broadcasts},
    {"AllToAlls", all_to_alls},
    {"Messages", messages},
    {"SeveralUnderWay", several_under_way},
    {"OrderOfTheStream", order_of_the_stream},
    {"HostsAndDevices", hosts_and_devices},
    {"Alone", alone},
};

}  // namespace trident::device_suite
