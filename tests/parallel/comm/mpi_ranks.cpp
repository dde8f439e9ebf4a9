// One rank of a job under mpirun: the suite of comm_suite.h, or one of the failures that mpirun_test.sh asks for.
//   mpi_ranks [--gtest_...] | mpi_ranks hang | mpi_ranks mismatch
// TRIDENT_TEST_RANKS_PER_NODE pretends that the machine is several nodes.
#include <gtest/gtest.h>
#include <mpi.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <iostream>
#include <string>
#include <thread>

#include "core/error.h"
#include "parallel/comm/mpi_session.h"
#include "tests/parallel/comm/comm_suite.h"

namespace {

int largest_message = 0;  // that this rank has sent, in bytes

}  // namespace

// Instead of MPI's own, which MPI also calls PMPI_Isend for this purpose: everything that the library sends passes
// here.
extern "C" int MPI_Isend(const void* buf, int count, MPI_Datatype datatype, int dest, int tag, MPI_Comm comm,
                         MPI_Request* request) {
  int size = 0;
  MPI_Type_size(datatype, &size);
  largest_message = std::max(largest_message, count * size);
  return PMPI_Isend(buf, count, datatype, dest, tag, comm, request);
}

namespace trident {
namespace {

Communicator& world() {
  static Communicator communicator = Communicator::self();
  return communicator;
}

class MpiRanks : public testing::TestWithParam<comm_suite::Case> {};

TEST_P(MpiRanks, Do) { GetParam().run(world()); }

INSTANTIATE_TEST_SUITE_P(, MpiRanks, testing::ValuesIn(comm_suite::kCases),
                         [](const auto& test) { return std::string(test.param.name); });

void hang(const Communicator& all) {
  const Communicator dp = all.split(0, all.rank(), "dp");
  dp.barrier();
  if (dp.rank() == 1) std::this_thread::sleep_for(std::chrono::minutes(1));
  double one[1000] = {1.0};
  dp.all_reduce(std::span<double>(one));
}

void mismatch(const Communicator& all) {
  Tensor a = comm_suite::make_tensor(16, DType::fp32);
  all.all_reduce(a);
  if (all.rank() == 1) {
    all.barrier();
  } else {
    all.all_reduce(a);
  }
}

int run_suite(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (world().rank() != 0) GTEST_FLAG_SET(brief, true);
  const int result = RUN_ALL_TESTS();
  // In one piece, so that the ranks' lines do not mix.
  std::cout << "largest message: " + std::to_string(largest_message) + " bytes\n" << std::flush;
  return result;
}

}  // namespace
}  // namespace trident

int main(int argc, char** argv) {
  using namespace trident;  // NOLINT(google-build-using-namespace)
  const std::string mode = argc > 1 ? argv[1] : "";
  MpiOptions options;
  options.comm.timeout = mode == "hang" ? std::chrono::milliseconds(1000) : std::chrono::seconds(60);
  options.comm.trace = std::getenv("TRIDENT_TEST_TRACE") != nullptr;
  if (const char* value = std::getenv("TRIDENT_TEST_RANKS_PER_NODE")) options.ranks_per_node = std::atoi(value);
  MpiSession session(options);
  int result = 0;
  try {
    world() = session.world();
    if (mode == "hang") {
      hang(session.world());
    } else if (mode == "mismatch") {
      mismatch(session.world());
    } else {
      result = run_suite(argc, argv);
    }
    world() = Communicator::self();
  } catch (const Error& error) {
    std::cerr << "rank " << session.world().rank() << ": " << error.what() << std::endl;
    std::this_thread::sleep_for(std::chrono::milliseconds(300));  // the others say what they see, too
    session.abort(error.exit_code());
  }
  return result;
}
