// Reduction of a rank's flat gradients over ranks, one thread each: the exact tree beside the communicator's own
// reduce_scatter, bucket by bucket. In turns; medians, and the ratio of exact to fast of the same round, its median
// too.
//   bench_reduction [MiB] [rounds]                ranks are threads of this process
//   mpirun -n N bench_reduction [MiB] [rounds]    ranks are processes
// "shared": the gradients lie in memory that the ranks of a node share. "private": they do not; processes only.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "core/allocator.h"
#include "core/error.h"
#include "parallel/comm/launch_environment.h"
#include "parallel/comm/mpi_session.h"
#include "parallel/comm/threads/thread_ranks.h"
#include "parallel/data/exact_reduction.h"
#include "parallel/data/fast_reduction.h"

namespace trident {
namespace {

constexpr int64_t kMiB = int64_t{1} << 20;

struct Contender {
  std::string name;
  std::function<void()> run;
  std::vector<double> seconds;
};

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<int64_t>(values.size() / 2), values.end());
  return values[values.size() / 2];
}

void reduce_all(BucketReduction& reduction, const Stream& stream, int buckets) {
  for (int bucket = buckets; bucket-- > 0;) reduction.start(stream, bucket);
  reduction.finish();
}

double median_ratio(const Contender& over, const Contender& under) {
  std::vector<double> ratios(over.seconds.size());
  std::transform(over.seconds.begin(), over.seconds.end(), under.seconds.begin(), ratios.begin(), std::divides<>());
  return median(std::move(ratios));
}

enum class Memory { shared, own };

/// `shards` logical shards on the ranks of `world`, whose gradients have `mib` MiB.
void measure(const Communicator& world, int shards, Memory memory, int64_t mib, int rounds) {
  const Stream stream = Stream::cpu(1);
  const int64_t elements = mib * kMiB / 4;
  const auto allocate = [&] {
    if (memory == Memory::shared) return world.allocate_shared({elements}, DType::fp32);
    return Tensor(map_memory(static_cast<size_t>(elements) * 4), 0, {elements}, DType::fp32);
  };
  const Tensor grads = allocate();
  std::fill_n(grads.data<float>(), elements, 1e-3f);
  const ReductionTree tree(shards);
  size_t most_pieces = 0;
  for (int rank = 0; rank < world.size(); ++rank) {
    most_pieces = std::max(most_pieces, tree.subtrees(shards_of(rank, world.size(), shards)).size());
  }
  std::vector<Tensor> pieces;
  for (size_t i = 1; i < most_pieces; ++i) pieces.push_back(allocate());  // by all ranks together
  pieces.resize(tree.subtrees(shards_of(world.rank(), world.size(), shards)).size() - 1);
  pieces.push_back(grads);

  std::vector<Contender> contenders;
  const int64_t part = elements / world.size();
  contenders.push_back({"reduce_scatter, one call",
                        [&] {
                          world.reduce_scatter(grads.flat_view(0, {part * world.size()}),
                                               grads.flat_view(part * world.rank(), {part}));
                        },
                        {}});
  for (const int64_t bucket_mib : {1, 2, 4, 8, 25}) {
    const FlatPartition partition(elements, world.size(), bucket_mib * kMiB / 4);
    auto fast = std::make_shared<FastReduction>(world, partition, grads);
    auto exact = std::make_shared<ExactReduction>(world, tree, partition, pieces, grads);
    const int buckets = partition.buckets();
    contenders.push_back({fmt::format("fast,  buckets of {} MiB", bucket_mib),
                          [=, &stream] { reduce_all(*fast, stream, buckets); },
                          {}});
    contenders.push_back({fmt::format("exact, buckets of {} MiB", bucket_mib),
                          [=, &stream] { reduce_all(*exact, stream, buckets); },
                          {}});
  }
  for (int round = 0; round <= rounds; ++round) {
    for (Contender& contender : contenders) {
      world.barrier();
      const auto start = std::chrono::steady_clock::now();
      contender.run();
      world.barrier();
      const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
      if (round > 0) contender.seconds.push_back(elapsed.count());  // the first touches the memory
    }
  }
  if (world.rank() != 0) return;
  const double base = median(contenders[0].seconds);
  fmt::print("\n{} MiB of fp32 gradients in {} memory, {} ranks, {} shards\n", mib,
             memory == Memory::shared ? "shared" : "private", world.size(), shards);
  for (size_t i = 0; i < contenders.size(); ++i) {
    const Contender& contender = contenders[i];
    const double seconds = median(contender.seconds);
    fmt::print("  {:28} {:8.2f} ms  {:5.2f}", contender.name, 1e3 * seconds, seconds / base);
    const bool exact = i > 0 && i % 2 == 0;
    fmt::print("{}\n", exact ? fmt::format("  exact/fast {:.2f}", median_ratio(contender, contenders[i - 1])) : "");
  }
}

void measure_processes(int64_t mib, int rounds) {
  MpiSession session;
  try {
    for (const Memory memory : {Memory::shared, Memory::own}) {
      measure(session.world(), session.world().size(), memory, mib, rounds);
    }
  } catch (const Error& error) {
    fmt::print(stderr, "{}\n", error.what());
    session.abort(error.exit_code());
  }
}

void measure_threads(int64_t mib, int rounds) {
  for (const auto& [ranks, shards] : {std::pair{2, 2}, {2, 5}, {4, 4}, {3, 8}}) {
    run_ranks(ranks,
              [&, shards = shards](const Communicator& world) { measure(world, shards, Memory::shared, mib, rounds); });
  }
}

}  // namespace
}  // namespace trident

int main(int argc, char** argv) {
  using namespace trident;
  const int64_t mib = argc > 1 ? std::atoll(argv[1]) : 64;
  const int rounds = argc > 2 ? std::atoi(argv[2]) : 15;
  if (detect_launch().launcher == LaunchEnvironment::Launcher::none)
    measure_threads(mib, rounds);
  else
    measure_processes(mib, rounds);
}
