// Collectives beside MPI's own, interleaved, medians of --rounds.
//   mpirun -n 2 bench_collectives [--rounds N] [--max-mib M]
// "shared": the buffers lie in memory that the ranks of a node share, as gradient buckets do. "private": they do not.
#include <fmt/format.h>
#include <mpi.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "core/error.h"
#include "parallel/comm/mpi_session.h"

namespace {

using namespace trident;
using Clock = std::chrono::steady_clock;

struct Row {
  std::string name;
  std::function<void()> run;
  std::vector<double> seconds;
};

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

/// Every round runs every row once; a row's time is that of the slowest rank.
void measure(const Communicator& world, std::vector<Row>& rows, int rounds, int repeats) {
  for (int round = -1; round < rounds; ++round) {  // the first one warms up
    for (Row& row : rows) {
      world.barrier();
      const auto start = Clock::now();
      for (int i = 0; i < repeats; ++i) row.run();
      double slowest[] = {std::chrono::duration<double>(Clock::now() - start).count() / repeats};
      world.all_reduce(std::span<double>(slowest), ReduceOp::max);
      if (round >= 0) row.seconds.push_back(slowest[0]);
    }
  }
}

void bench_size(const Communicator& world, int64_t bytes, int rounds) {
  const int ranks = world.size();
  const int64_t n = bytes / 4 / ranks * ranks, part = n / ranks;
  const Tensor shared = world.allocate_shared({n}, DType::fp32);
  const Tensor shared_part = shared.flat_view(world.rank() * part, {part});
  std::vector<float> buffer(static_cast<size_t>(n)), out(static_cast<size_t>(n)), piece(static_cast<size_t>(part));
  const Tensor own = Tensor::borrow(buffer.data(), {n}, DType::fp32);
  const Tensor own_part = Tensor::borrow(piece.data(), {part}, DType::fp32);
  const auto count = static_cast<int>(n), part_count = static_cast<int>(part);

  std::vector<Row> rows = {
      {"all_reduce", [&] { MPI_Allreduce(buffer.data(), out.data(), count, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD); }, {}},
      {"all_reduce", [&] { world.all_reduce(shared); }, {}},
      {"all_reduce", [&] { world.all_reduce(own); }, {}},
      {"reduce_scatter",
       [&] { MPI_Reduce_scatter_block(buffer.data(), piece.data(), part_count, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD); },
       {}},
      {"reduce_scatter", [&] { world.reduce_scatter(shared, shared_part); }, {}},
      {"reduce_scatter", [&] { world.reduce_scatter(own, own_part); }, {}},
      {"all_gather",
       [&] { MPI_Allgather(piece.data(), part_count, MPI_FLOAT, out.data(), part_count, MPI_FLOAT, MPI_COMM_WORLD); },
       {}},
      {"all_gather", [&] { world.all_gather(shared_part, shared); }, {}},
      {"all_gather", [&] { world.all_gather(own_part, own); }, {}},
  };
  measure(world, rows, rounds, static_cast<int>(std::clamp<int64_t>((int64_t{4} << 20) / bytes, 1, 200)));
  if (world.rank() != 0) return;
  for (size_t i = 0; i < rows.size(); i += 3) {
    const double mpi = median(rows[i].seconds), ours = median(rows[i + 1].seconds),
                 copied = median(rows[i + 2].seconds);
    fmt::print("{:>9} KiB  {:<15} {:>11.1f} {:>11.1f} {:>11.1f} {:>9.3f} {:>9.3f}\n", bytes / 1024, rows[i].name,
               mpi * 1e6, ours * 1e6, copied * 1e6, ours / mpi, copied / mpi);
  }
}

int64_t option(int argc, char** argv, const char* name, int64_t otherwise) {
  for (int i = 1; i + 1 < argc; ++i) {
    if (std::strcmp(argv[i], name) == 0) return std::atoll(argv[i + 1]);
  }
  return otherwise;
}

}  // namespace

int main(int argc, char** argv) {
  MpiSession session;
  try {
    const Communicator& world = session.world();
    if (world.size() < 2) throw Error(ErrorCode::usage, "bench_collectives", "needs ranks", "mpirun -n 2");
    if (world.rank() == 0) {
      fmt::print(
          "{} ranks, fp32, microseconds, median; ratio to MPI's\n{:>13}  {:<15} {:>11} {:>11} {:>11} {:>9} {:>9}\n",
          world.size(), "size", "collective", "MPI", "shared", "private", "shared", "private");
    }
    const auto rounds = static_cast<int>(option(argc, argv, "--rounds", 9));
    const int64_t largest = option(argc, argv, "--max-mib", 64) << 20;
    for (int64_t bytes = 1024; bytes <= largest; bytes *= 4) bench_size(world, bytes, rounds);
  } catch (const Error& error) {
    fmt::print(stderr, "{}\n", error.what());
    session.abort(error.exit_code());
  }
  return 0;
}
