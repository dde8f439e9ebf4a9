// One rank of a job under mpirun: some of the layouts of tests/train/layouts_test.cpp, those that have as many ranks as
// were started, with ranks as processes.
//   layout_ranks [--gtest_...]
// TRIDENT_TEST_RANKS_PER_NODE pretends that the machine is several nodes.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <iostream>

#include "core/error.h"
#include "parallel/comm/mpi_session.h"
#include "tests/train/layout_runs.h"

namespace trident::testing {
namespace {

Communicator& world() {
  static Communicator communicator = Communicator::self();
  return communicator;
}

LayoutRun with_sequence_parallelism(LayoutRun run, ZeroStage zero, Recompute recompute = Recompute::none) {
  run.micro_batch_size = 2;
  run.layout.sequence_parallel = true;
  run.layout.zero_stage = zero;
  run.recompute = recompute;
  return run;
}

// All schedules, an uneven batch, sequence parallelism, both ZeRO stages, recompute, tied and untied heads, more ranks
// than key-value heads, both families.
std::vector<LayoutRun> chosen_runs() {
  std::vector<LayoutRun> runs{
      run_of(Family::gpt2_untied, layout_of({1, 1, 2}, "zb-v"), 4),
      with_sequence_parallelism(run_of(Family::llama_tied, layout_of({1, 2, 1}, "1f1b"), 4),
                                ZeroStage::optimizer_state),
      run_of(Family::llama_gqa, layout_of({3, 1, 1}, "1f1b"), 7),
      run_of(Family::gpt2_tied, layout_of({1, 2, 2}, "interleaved"), 6),
      with_sequence_parallelism(run_of(Family::llama_gqa, layout_of({1, 4, 1}, "1f1b"), 4), ZeroStage::replicated),
      with_sequence_parallelism(run_of(Family::llama_tied, layout_of({2, 2, 2}, "zb-h1"), 9), ZeroStage::replicated,
                                Recompute::selective),
      with_sequence_parallelism(run_of(Family::gpt2_tied, layout_of({2, 2, 2}, "gpipe"), 7), ZeroStage::optimizer_state,
                                Recompute::full),
      run_of(Family::llama_gqa, layout_of({2, 2, 2}, "zb-v")),
      run_of(Family::llama_tied, layout_of({4, 1, 2}, "interleaved"), 11),
      run_of(Family::gpt2_untied, layout_of({1, 2, 4}, "1f1b"), 5),
  };
  runs.back().layout.order = {Axis::pp, Axis::dp, Axis::tp};
  return runs;
}

std::vector<LayoutRun> runs_on(int ranks) {
  std::vector<LayoutRun> runs = chosen_runs();
  std::erase_if(runs, [&](const LayoutRun& run) { return run.layout.mesh.ranks() != ranks; });
  return runs;
}

// What must be the same on every rank; MPI's ranks do not see one another's.
void expect_same_on_all_ranks(const std::vector<double>& values) {
  std::vector<double> all(values.size() * static_cast<size_t>(world().size()));
  world().all_gather(std::span<const double>(values), std::span<double>(all));
  for (size_t i = 0; i < all.size(); ++i) EXPECT_EQ(all[i], values[i % values.size()]) << "value " << i;
}

// Every rank's weights on all of them. What a rank has not is NaN, or a tensor that it does not know.
void exchange_weights(const ModelConfig& config, LayoutOutcome& outcome) {
  const Model whole(config, DType::fp32, Recompute::none, Stream::meta());
  for (const Parameter* parameter : whole.storage().parameters()) {
    std::vector<double>& weights = outcome.weights[parameter->name];
    weights.resize(static_cast<size_t>(parameter->global_shape.elements()), std::nan(""));
    std::replace_if(
        weights.begin(), weights.end(), [](double value) { return std::isnan(value); }, -HUGE_VAL);
    world().all_reduce(std::span<double>(weights), ReduceOp::max);
  }
}

LayoutOutcome train_as_processes(const LayoutRun& run) {
  LayoutOutcome outcome;
  std::mutex mutex;
  train_rank(run, world(), outcome, mutex);
  expect_same_on_all_ranks(outcome.losses);
  expect_same_on_all_ranks(outcome.norms);
  expect_same_on_all_ranks({outcome.validation});
  exchange_weights(run.model, outcome);
  return outcome;
}

class LayoutsAsProcesses : public ::testing::TestWithParam<LayoutRun> {};

TEST_P(LayoutsAsProcesses, TrainAsOneRankDoesInFp64) {
  const LayoutRun& run = GetParam();
  const LayoutOutcome outcome = train_as_processes(run);
  if (world().rank() != 0) return;
  EXPECT_EQ(difference(train(serial(run)), outcome, 1e-10), "") << run.to_string();
}

// Ranks as threads round alike, unless sums are taken node by node.
TEST_P(LayoutsAsProcesses, TrainAsOneRankAndAsThreadsDoInFp32) {
  LayoutRun run = GetParam();
  run.compute = DType::fp32;
  const LayoutOutcome outcome = train_as_processes(run);
  const bool one_node = world().place(0).node == world().place(world().size() - 1).node;
  if (world().rank() != 0) return;
  EXPECT_EQ(difference(train(serial(run)), outcome, 2e-5), "") << run.to_string();
  if (one_node) {
    EXPECT_EQ(difference(train(run), outcome), "") << run.to_string();
  }
}

std::string name_of(const ::testing::TestParamInfo<LayoutRun>& info) {
  const JobLayout& layout = info.param.layout;
  std::string name = fmt::format("{}_dp{}_tp{}_pp{}_{}", to_string(info.param.model.architecture), layout.mesh.dp,
                                 layout.mesh.tp, layout.mesh.pp, layout.schedule.name);
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

// The world is known when the cases are made.
INSTANTIATE_TEST_SUITE_P(Chosen, LayoutsAsProcesses, ::testing::ValuesIn(runs_on(world().size())), name_of);

// With the number of logical shards and tp fixed, neither dp nor pp changes a bit.
TEST(ExactBitsOfProcesses, AreThoseOfOneRank) {
  const int ranks = world().size();
  const auto with = [](int dp, int pp) {
    LayoutRun run = run_of(Family::llama_gqa, layout_of({dp, 1, pp}, "1f1b"), 11);
    run.compute = DType::fp32;
    run.layout.logical_shards = 8;
    return run;
  };
  LayoutOutcome expected;
  if (world().rank() == 0) expected = train(with(1, 1));
  for (const int pp : {1, 2, 4}) {
    if (ranks % pp != 0) continue;
    const LayoutRun run = with(ranks / pp, pp);
    const LayoutOutcome outcome = train_as_processes(run);
    if (world().rank() != 0) continue;
    EXPECT_EQ(difference(expected, outcome), "") << run.to_string();
  }
}

int run_suite(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  GTEST_FLAG_SET(catch_exceptions, false);  // the other ranks would wait for the rest of a test that threw
  if (world().rank() != 0) GTEST_FLAG_SET(brief, true);
  return RUN_ALL_TESTS();
}

}  // namespace
}  // namespace trident::testing

int main(int argc, char** argv) {
  using namespace trident;  // NOLINT(google-build-using-namespace)
  MpiOptions options;
  options.comm.timeout = std::chrono::seconds(60);
  if (const char* value = std::getenv("TRIDENT_TEST_RANKS_PER_NODE")) options.ranks_per_node = std::atoi(value);
  MpiSession session(options);
  int result = 0;
  try {
    trident::testing::world() = session.world();
    result = trident::testing::run_suite(argc, argv);
    trident::testing::world() = Communicator::self();
  } catch (const Error& error) {
    std::cerr << "rank " << session.world().rank() << ": " << error.what() << std::endl;
    session.abort(error.exit_code());
  }
  return result;
}
