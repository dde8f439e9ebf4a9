#pragma once

#include <cstring>
#include <numeric>
#include <vector>

#include "tests/parallel/comm/comm_values.h"

/// What every back end must do, as functions of one rank; run by ranks as threads and again under mpirun.
namespace trident::comm_suite {

// None, one, odd, a cache line and one, beyond the inline limit, beyond one chunk of staging memory.
inline constexpr int64_t kSizes[] = {0, 1, 7, 65, 5001, 700001};

inline bool one_node(const Communicator& world) { return world.place(world.size() - 1).node == world.place(0).node; }

inline void all_reduces(const Communicator& world) {
  // Across nodes the order of the sum is another one, so only exact values are compared.
  const bool rough = one_node(world);
  for (const DType dtype : kDTypes) {
    for (const int64_t n : kSizes) {
      for (const ReduceOp op : {ReduceOp::sum, ReduceOp::max}) {
        Tensor tensor = make_tensor(n, dtype);
        fill(tensor, world.rank(), rough);
        world.all_reduce(tensor, op);
        // The head and the tail: slices of all ranks and the last chunk.
        const int64_t part = sampled(n);
        expect_all(tensor.flat_view(0, {part}), label("all_reduce head", n, dtype),
                   [&](int64_t i) { return reduced(tensor, world.size(), i, op, rough); });
        expect_all(tensor.flat_view(n - part, {part}), label("all_reduce tail", n, dtype),
                   [&](int64_t i) { return reduced(tensor, world.size(), n - part + i, op, rough); });
      }
    }
  }
}

inline void reduce_scatters(const Communicator& world) {
  const bool rough = one_node(world);
  const auto ranks = static_cast<int64_t>(world.size());
  for (const DType dtype : kDTypes) {
    for (const int64_t n : {int64_t{0}, int64_t{1}, int64_t{13}, int64_t{5001}, int64_t{200003}}) {
      Tensor in = make_tensor(n * ranks, dtype);
      Tensor out = make_tensor(n, dtype);
      fill(in, world.rank(), rough);
      world.reduce_scatter(in, out);
      const auto expected = [&](int64_t i) {
        return reduced(in, world.size(), world.rank() * n + i, ReduceOp::sum, rough);
      };
      expect_all(out.flat_view(0, {sampled(n)}), label("reduce_scatter", n, dtype), expected);
      // In place: the output is this rank's part of the input.
      Tensor mine = in.flat_view(world.rank() * n, {n});
      world.reduce_scatter(in, mine);
      expect_all(mine.flat_view(0, {sampled(n)}), label("reduce_scatter in place", n, dtype), expected);
    }
  }
}

inline void all_gathers(const Communicator& world) {
  const auto ranks = static_cast<int64_t>(world.size());
  for (const DType dtype : kDTypes) {
    for (const int64_t n : {int64_t{0}, int64_t{1}, int64_t{13}, int64_t{5001}, int64_t{400003}}) {
      Tensor in = make_tensor(n, dtype);
      Tensor out = make_tensor(n * ranks, dtype);
      fill(in, world.rank());
      world.all_gather(in, out);
      const auto expected = [&](int64_t i) { return value(static_cast<int>(i / n), i % n, dtype, false); };
      expect_all(out, label("all_gather", n, dtype), expected);
      Tensor mine = out.flat_view(world.rank() * n, {n});
      if (n > 0) std::memset(out.raw(), 0, out.bytes());
      fill(mine, world.rank());
      world.all_gather(mine, out);
      expect_all(out, label("all_gather in place", n, dtype), expected);
    }
  }
}

inline void broadcasts(const Communicator& world) {
  for (int root = 0; root < world.size(); ++root) {
    for (const int64_t n : kSizes) {
      Tensor tensor = make_tensor(n, DType::bf16);
      fill(tensor, world.rank());
      world.broadcast(tensor, root);
      expect_all(tensor, label("broadcast", n, DType::bf16),
                 [&](int64_t i) { return value(root, i, DType::bf16, false); });
    }
  }
}

inline void all_to_alls(const Communicator& world) {
  const auto ranks = static_cast<int64_t>(world.size());
  for (const int64_t n : {int64_t{0}, int64_t{1}, int64_t{13}, int64_t{5001}, int64_t{100003}}) {
    Tensor in = make_tensor(n * ranks, DType::fp32);
    Tensor out = make_tensor(n * ranks, DType::fp32);
    fill(in, world.rank());
    world.all_to_all(in, out);
    expect_all(out, label("all_to_all", n, DType::fp32),
               [&](int64_t i) { return value(static_cast<int>(i / n), world.rank() * n + i % n, DType::fp32, false); });
  }
}

/// Rank a sends a·31 + b·1009 elements to rank b, and nothing where a + b is a multiple of 3.
inline void uneven_all_to_all(const Communicator& world) {
  const auto count = [](int from, int to) { return (from + to) % 3 == 0 ? 0 : from * 31 + int64_t{to} * 100009 + 5; };
  std::vector<int64_t> sends, recvs;
  for (int peer = 0; peer < world.size(); ++peer) {
    sends.push_back(count(world.rank(), peer));
    recvs.push_back(count(peer, world.rank()));
  }
  std::vector<double> in, out(static_cast<size_t>(std::accumulate(recvs.begin(), recvs.end(), int64_t{0})), -1);
  for (int peer = 0; peer < world.size(); ++peer) {
    for (int64_t i = 0; i < count(world.rank(), peer); ++i) in.push_back(world.rank() * 1e8 + peer * 1e6 + double(i));
  }
  world.all_to_all(std::span<const double>(in), sends, std::span<double>(out), recvs);
  size_t at = 0, wrong = 0;
  for (int peer = 0; peer < world.size(); ++peer) {
    for (int64_t i = 0; i < count(peer, world.rank()); ++i) {
      wrong += out[at++] != peer * 1e8 + world.rank() * 1e6 + double(i) ? 1 : 0;
    }
  }
  EXPECT_EQ(wrong, 0u);
}

/// Readers see what all_to_all brings, wherever the parts lie, and nobody's part changes before all have read. Buffers
/// of all ranks shared, of some, of none; the last rank takes copies.
inline void all_to_alls_with_readers(const Communicator& world) {
  const auto ranks = static_cast<int64_t>(world.size());
  const int64_t n = 70001;
  const Tensor shared = world.allocate_shared({n * ranks}, DType::fp32), own = make_tensor(n * ranks, DType::fp32);
  const Tensor scratch = make_tensor(n * ranks, DType::fp32);
  const std::vector<int64_t> counts(static_cast<size_t>(ranks), n);
  for (const int first_private : {world.size(), 1, 0}) {
    const Tensor& in = world.rank() < first_private ? shared : own;
    for (int round = 0; round < 3; ++round) {
      const int salt = 10 * round;
      fill(in, world.rank() + salt);
      if (world.rank() == world.size() - 1 && world.size() > 1) {
        world.all_to_all_async(in, counts, scratch, counts).wait();
        expect_all(scratch, "copies", [&](int64_t i) {
          return value(static_cast<int>(i / n) + salt, world.rank() * n + i % n, DType::fp32, false);
        });
        continue;
      }
      int calls = 0;
      int64_t wrong = 0;
      const auto read = [&](std::span<const std::byte* const> parts) {
        ++calls;
        ASSERT_EQ(static_cast<int64_t>(parts.size()), ranks);
        for (int peer = 0; peer < world.size(); ++peer) {
          const auto* part = reinterpret_cast<const float*>(parts[static_cast<size_t>(peer)]);
          for (int64_t i = 0; i < n; ++i) {
            const double expected = value(peer + salt, world.rank() * n + i, DType::fp32, false);
            wrong += static_cast<double>(part[i]) != expected ? 1 : 0;
          }
        }
      };
      world.all_to_all_async(in, counts, scratch, counts, read).wait();
      EXPECT_EQ(calls, 1);
      EXPECT_EQ(wrong, 0) << "in round " << round << ", private from rank " << first_private;
    }
  }
}

/// One rank gets everything, some nothing; readers are called even so.
inline void uneven_all_to_all_with_readers(const Communicator& world) {
  const auto ranks = static_cast<size_t>(world.size());
  const int64_t n = 5003;
  const Tensor in = world.allocate_shared({n}, DType::fp64), scratch = make_tensor(n * world.size(), DType::fp64);
  fill(in, world.rank());
  for (int receiver = -1; receiver < world.size(); ++receiver) {  // -1: nobody
    std::vector<int64_t> sends(ranks), recvs(ranks, world.rank() == receiver ? n : 0);
    if (receiver >= 0) sends[static_cast<size_t>(receiver)] = n;
    int calls = 0;
    world
        .all_to_all_async(in.flat_view(0, {receiver < 0 ? 0 : n}), sends,
                          scratch.flat_view(0, {world.rank() == receiver ? n * world.size() : 0}), recvs,
                          [&](std::span<const std::byte* const> parts) {
                            ++calls;
                            if (world.rank() != receiver) return;
                            for (int peer = 0; peer < world.size(); ++peer) {
                              const auto* part = reinterpret_cast<const double*>(parts[static_cast<size_t>(peer)]);
                              EXPECT_EQ(part[n - 1], value(peer, n - 1, DType::fp64, false));
                            }
                          })
        .wait();
    EXPECT_EQ(calls, 1);
  }
}

inline void host_spans(const Communicator& world) {
  int64_t counts[] = {int64_t{1} << 53, world.rank()};
  world.all_reduce(std::span<int64_t>(counts));
  EXPECT_EQ(counts[0], world.size() * (int64_t{1} << 53));
  EXPECT_EQ(counts[1], world.size() * (world.size() - 1) / 2);
  double extremes[] = {-1.0 * world.rank(), 0.5 + world.rank()};
  world.all_reduce(std::span<double>(extremes), ReduceOp::max);
  EXPECT_EQ(extremes[0], 0.0);
  EXPECT_EQ(extremes[1], world.size() - 0.5);
}

/// Around a ring, both directions, two tags received in the other order, from nothing to megabytes.
inline void messages(const Communicator& world) {
  if (world.size() == 1) return;
  const int next = (world.rank() + 1) % world.size();
  const int previous = (world.rank() + world.size() - 1) % world.size();
  for (const int64_t n : {int64_t{0}, int64_t{1}, int64_t{1000}, int64_t{900001}}) {
    Tensor mine = make_tensor(n, DType::fp32), one = make_tensor(n, DType::fp32), two = make_tensor(n, DType::fp32);
    fill(mine, world.rank());
    Pending sent_one = world.send_async(mine, next, 1);
    Pending sent_two = world.send_async(mine, previous, 2);
    Pending got_two = world.recv_async(two, next, 2);
    Pending got_one = world.recv_async(one, previous, 1);
    got_one.wait();
    got_two.wait();
    sent_two.wait();
    sent_one.wait();
    expect_all(one, "from the previous rank", [&](int64_t i) { return value(previous, i, DType::fp32, false); });
    expect_all(two, "from the next rank", [&](int64_t i) { return value(next, i, DType::fp32, false); });
  }
  // Same tag: in order.
  int64_t numbers[3] = {0, 0, 0};
  std::vector<Pending> pending;
  const int64_t mine[3] = {world.rank() * 10, world.rank() * 10 + 1, world.rank() * 10 + 2};
  for (int i = 0; i < 3; ++i) {
    pending.push_back(world.recv_async(std::span<int64_t>(&numbers[i], 1), previous, 7));
    pending.push_back(world.send_async(std::span<const int64_t>(&mine[i], 1), next, 7));
  }
  for (Pending& one : pending) one.wait();
  for (int64_t i = 0; i < 3; ++i) EXPECT_EQ(numbers[i], previous * 10 + i);
}

/// Two groups with operations in flight; ranks wait for them in different orders.
inline void overlapping_groups(const Communicator& world) {
  const Communicator pairs = world.split(world.rank() / 2, world.rank(), "pairs");
  constexpr int64_t n = 50000;
  Tensor a = make_tensor(n, DType::fp32), b = make_tensor(n, DType::fp32), c = make_tensor(n, DType::fp32);
  for (Tensor* t : {&a, &b, &c}) fill(*t, world.rank());
  Pending first = world.all_reduce_async(a);
  Pending second = pairs.all_reduce_async(b, ReduceOp::max);
  Pending third = world.all_reduce_async(c, ReduceOp::max);
  if (world.rank() % 2 == 0) {
    third.wait(), first.wait(), second.wait();
  } else {
    second.wait();
    while (!first.test()) {
    }
    third.wait();
  }
  expect_all(a, "first", [&](int64_t i) { return reduced(a, world.size(), i, ReduceOp::sum, false); });
  expect_all(c, "third", [&](int64_t i) { return reduced(c, world.size(), i, ReduceOp::max, false); });
  const int low = world.rank() / 2 * 2;
  expect_all(b, "second", [&](int64_t i) {
    const double mine = value(low, i, DType::fp32, false);
    return low + 1 < world.size() ? std::max(mine, value(low + 1, i, DType::fp32, false)) : mine;
  });
}

/// A tree of splits, with reversed order and ranks that join none.
inline void splits(const Communicator& world) {
  const Communicator reversed = world.split(0, -world.rank(), "reversed");
  EXPECT_EQ(reversed.rank(), world.size() - 1 - world.rank());
  EXPECT_EQ(reversed.size(), world.size());
  std::vector<int64_t> order(static_cast<size_t>(world.size()));
  const int64_t mine[] = {world.rank()};
  reversed.all_gather(std::span<const int64_t>(mine), std::span<int64_t>(order));
  for (int i = 0; i < world.size(); ++i) EXPECT_EQ(order[static_cast<size_t>(i)], world.size() - 1 - i);

  Communicator group = world;
  int expected = world.size();
  while (expected > 1) {  // halves of halves
    const int half = (group.size() + 1) / 2;
    const bool low = group.rank() < half;
    expected = low ? half : group.size() - half;
    group = group.split(low ? 0 : 1, group.rank(), "half");
    ASSERT_EQ(group.size(), expected);
    EXPECT_EQ(group.name(), "half");
    double ranks[] = {1.0};
    group.all_reduce(std::span<double>(ranks));
    EXPECT_EQ(ranks[0], expected);
  }
  const Communicator some = world.split(world.rank() % 3 == 1 ? -1 : 5, 0, "some");
  EXPECT_TRUE(world.rank() % 3 != 1 || some.size() == 1);
  double ones[] = {1.0};
  some.all_reduce(std::span<double>(ones));
  EXPECT_EQ(ones[0], some.size());
  world.barrier();
}

/// Collectives on shared memory give the bits that collectives on private memory give.
inline void shared_memory(const Communicator& world) {
  const int64_t n = 123457 * world.size();
  for (const DType dtype : kDTypes) {
    Tensor shared = world.allocate_shared({n}, dtype);
    Tensor mine = make_tensor(n, dtype);
    fill(shared, world.rank(), true);
    fill(mine, world.rank(), true);
    world.all_reduce(shared);
    world.all_reduce(mine);
    EXPECT_EQ(std::memcmp(shared.raw(), mine.raw(), mine.bytes()), 0) << to_string(dtype);
    // A view in the middle, only some ranks' buffer shared.
    fill(shared, world.rank(), true);
    fill(mine, world.rank(), true);
    const Tensor& buffer = world.rank() % 2 == 0 ? shared : mine;
    world.all_reduce(buffer.flat_view(64, {n - 100}));
    Tensor part = make_tensor(n / world.size(), dtype);
    world.reduce_scatter(buffer, part);
    world.all_gather(part, shared);
    world.all_gather(part, mine);
    EXPECT_EQ(std::memcmp(shared.raw(), mine.raw(), mine.bytes()), 0) << to_string(dtype);
    world.barrier();
  }
}

inline void repeats_bit_for_bit(const Communicator& world) {
  Tensor first = make_tensor(300001, DType::fp32), again = make_tensor(300001, DType::fp32);
  fill(first, world.rank(), true);
  world.all_reduce(first);
  for (int round = 0; round < 3; ++round) {
    fill(again, world.rank(), true);
    world.all_reduce(again);
    EXPECT_EQ(std::memcmp(first.raw(), again.raw(), first.bytes()), 0);
  }
}

/// Small operations of every kind in a row: staging memory is used over and over.
inline void many_small_calls(const Communicator& world) {
  for (int round = 0; round < 200; ++round) {
    double sum[] = {double(world.rank() + round)};
    world.all_reduce(std::span<double>(sum));
    ASSERT_EQ(sum[0], world.size() * round + world.size() * (world.size() - 1) / 2.0);
    int64_t all[64];
    const int64_t mine[] = {world.rank() * round};
    const std::span<int64_t> gathered(all, static_cast<size_t>(world.size()));
    world.all_gather(std::span<const int64_t>(mine), gathered);
    for (int r = 0; r < world.size(); ++r) ASSERT_EQ(all[r], r * round);
    int64_t root[] = {world.rank() + round};
    world.broadcast(std::span<int64_t>(root), round % world.size());
    ASSERT_EQ(root[0], round % world.size() + round);
    if (round % 7 == 0) world.barrier();
  }
}

using Case = SuiteCase<>;

inline constexpr Case kCases[] = {
    {"AllReduces", all_reduces},
    {"ReduceScatters", reduce_scatters},
    {"AllGathers", all_gathers},
    {"Broadcasts", broadcasts},
    {"AllToAlls", all_to_alls},
    {"UnevenAllToAll", uneven_all_to_all},
    {"AllToAllsWithReaders", all_to_alls_with_readers},
    {"UnevenAllToAllWithReaders", uneven_all_to_all_with_readers},
    {"HostSpans", host_spans},
    {"Messages", messages},
    {"OverlappingGroups", overlapping_groups},
    {"Splits", splits},
    {"SharedMemory", shared_memory},
    {"RepeatsBitForBit", repeats_bit_for_bit},
    {"ManySmallCalls", many_small_calls},
};

}  // namespace trident::comm_suite
