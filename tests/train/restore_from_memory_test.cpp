// Snapshots in memory that outlives its processes: what they give back, under which layouts, and what happens when they
// are damaged or their node is lost. S followed by a number: a scenario that every fault-tolerant trainer must pass.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "checkpoint/snapshot_partner.h"
#include "checkpoint/snapshot_transfer.h"
#include "tests/scratch_dir.h"
#include "tests/train/test_memory.h"

namespace trident::testing {
namespace {

using test::ScratchDir;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

/// Work of all ranks of one start of the job; memory is that of the rank's node.
using Work = std::function<void(const Engine& engine, Checkpointer& checkpointer)>;

class Memory : public ::testing::Test {
 protected:
  void start(const LayoutRun& run, const Work& work) {
    ++starts_;
    (void)train(run, {.end = [&](const Engine& engine) {
                  const Communicator& world = engine.mesh().world();
                  CheckpointerOptions options = options_of(run, scratch_ / "root");
                  options.memory = memory_.of_node(world.place(world.rank()).node);
                  options.attempt = "attempt " + std::to_string(starts_);
                  Checkpointer checkpointer(engine, std::move(options));
                  work(engine, checkpointer);
                  world.barrier();
                }});
  }
  /// Snapshots of these steps; the live state before each is a different one. `saved_` is that of the last but one.
  void leave(const LayoutRun& run, int64_t before, int64_t last) {
    StateCollector saved, newest;
    start(run, [&](const Engine& engine, Checkpointer& checkpointer) {
      checkpointer.start(before - 1);
      snapshot_now(checkpointer, before);
      saved.add(engine);
      engine.mesh().world().barrier();
      spoil(engine);
      snapshot_now(checkpointer, last);
      newest.add(engine);
    });
    before_ = saved.state();
    newest_ = newest.state();
  }
  /// The step that a start under this layout goes on from, and its state.
  std::optional<int64_t> restore(const LayoutRun& run, WholeState& state) {
    StateCollector restored;
    std::optional<int64_t> step;
    start(run, [&](const Engine& engine, Checkpointer& checkpointer) {
      spoil(engine);
      const auto found = restored_step(checkpointer, damaged_);
      restored.add(engine);
      if (engine.mesh().world().rank() == 0) step = found;
    });
    state = restored.state();
    return step;
  }
  void expect_restored(const LayoutRun& run, std::optional<int64_t> step, const WholeState& expected) {
    SCOPED_TRACE(run.to_string());
    WholeState state;
    EXPECT_EQ(restore(run, state), step);
    if (step) {
      EXPECT_EQ(difference(expected, state), "");
    }
  }

  ScratchDir scratch_;
  TestMemory memory_;
  Damaged damaged_;
  WholeState before_, newest_;
  int starts_ = 0;
};

LayoutRun run_on(MeshShape mesh, ZeroStage zero = ZeroStage::optimizer_state, DType compute = DType::fp32) {
  LayoutRun run = small_run(1, 1, compute);
  run.model.num_hidden_layers = 3;
  run.global_batch_size = 12;
  run.layout.mesh = mesh;
  run.layout.logical_shards = mesh.dp;
  run.layout.zero_stage = zero;
  return run;
}

TEST_F(Memory, T21TheStateComesBackAfterItsProcesses) {
  const LayoutRun run = run_on({2, 2, 1});
  WholeState ignored;
  EXPECT_EQ(restore(run, ignored), std::nullopt);
  leave(run, 7, 8);
  // One rank was a step ahead when all were killed.
  start(run, [&](const Engine& engine, Checkpointer& checkpointer) {
    checkpointer.start(8);
    if (engine.mesh().world().rank() == 1) snapshot_now(checkpointer, 9);
  });
  expect_restored(run, 8, newest_);
  start(run, [&](const Engine&, Checkpointer& checkpointer) {
    EXPECT_EQ(restored_step(checkpointer, damaged_, 9), std::nullopt) << "a newer one is on disk";
  });
  EXPECT_THAT(damaged_.all, IsEmpty());
}

// torn-checkpoint, of shared memory: a bit that flips while a snapshot lies there.
TEST_F(Memory, S22ADamagedSnapshotIsNamedAndTheOneBeforeIsTaken) {
  const LayoutRun run = run_on({2, 2, 1});
  leave(run, 7, 8);
  EXPECT_EQ(memory_.flip(2, 8), 1);
  expect_restored(run, 7, before_);
  ASSERT_EQ(damaged_.all.size(), 1U);
  EXPECT_THAT(damaged_.all[0], HasSubstr("step 8: rank 2 on "));
  EXPECT_THAT(damaged_.all[0], HasSubstr(".2, block 0: the block's hash is"));
  EXPECT_EQ(memory_.flip(3, 7), 1);
  WholeState ignored;
  EXPECT_EQ(restore(run, ignored), std::nullopt);
  EXPECT_EQ(damaged_.all.size(), 3U) << "both steps";
}

// replan: what the fault left of a layout is restored under another one, from memory alone.
TEST_F(Memory, S28AnyLayoutRestoresWhatAnyOtherLeft) {
  const std::vector<LayoutRun> runs{run_on({8, 1, 1}), run_on({6, 1, 1}), run_on({8, 1, 1}),
                                    run_on({3, 1, 1}), run_on({2, 2, 2}), run_on({3, 2, 1}, ZeroStage::replicated),
                                    run_on({1, 4, 1}), run_on({1, 1, 3}), run_on({1, 1, 1})};
  int64_t step = 1;
  for (size_t i = 0; i < runs.size(); ++i, step += 2) {
    SCOPED_TRACE("left by " + runs[i].to_string());
    leave(runs[i], step, step + 1);
    expect_restored(runs[(i + 1) % runs.size()], step + 1, newest_);
    memory_.remove({});
  }
  EXPECT_THAT(damaged_.all, IsEmpty());
}

TEST_F(Memory, S28WhatAnotherLayoutLeftStaysUntilAllRanksHaveSealedANewerState) {
  leave(run_on({4, 1, 1}), 7, 8);
  ASSERT_EQ(memory_.names().size(), 4U);
  const LayoutRun narrow = run_on({3, 1, 1});
  start(narrow, [&](const Engine& engine, Checkpointer& checkpointer) {
    const Communicator& world = engine.mesh().world();
    EXPECT_EQ(restored_step(checkpointer, damaged_), 8);
    checkpointer.start(8);
    world.barrier();
    EXPECT_EQ(memory_.names().size(), 7U);
    snapshot_now(checkpointer, 9);
    world.barrier();
    EXPECT_EQ(memory_.names().size(), 7U) << "another rank may not have sealed its own";
    snapshot_now(checkpointer, 10);
    world.barrier();
    EXPECT_EQ(memory_.names().size(), 3U);
  });
  WholeState ignored;
  EXPECT_EQ(restore(run_on({4, 1, 1}), ignored), 10);
}

// The new gang dies before it has sealed anything of its own, again and again.
TEST_F(Memory, S24AStateSurvivesStartsThatSealNothing) {
  leave(run_on({4, 1, 1}), 7, 8);
  for (const MeshShape& mesh : {MeshShape{3, 1, 1}, MeshShape{2, 1, 1}, MeshShape{2, 2, 1}}) {
    start(run_on(mesh), [&](const Engine& engine, Checkpointer& checkpointer) {
      EXPECT_EQ(restored_step(checkpointer, damaged_), 8);
      checkpointer.start(8);
      if (engine.mesh().world().rank() == 0) snapshot_now(checkpointer, 9);
    });
  }
  expect_restored(run_on({4, 1, 1}), 8, newest_);
}

// A run that goes on from an older state must not meet what it left behind.
TEST_F(Memory, StatesOfAPastThatIsNotSharedAreForgotten) {
  const LayoutRun run = run_on({2, 1, 1});
  leave(run, 7, 8);
  start(run, [&](const Engine& engine, Checkpointer& checkpointer) {
    checkpointer.start(5);
    // Rank 1 comes to step 8 again, rank 0 does not: its old one is not of this start.
    for (const int64_t step : {6, 7, 8})
      if (step < 7 || engine.mesh().world().rank() == 1) snapshot_now(checkpointer, step);
  });
  WholeState ignored;
  EXPECT_EQ(restore(run, ignored), 6);
  EXPECT_THAT(damaged_.all, IsEmpty());
}

TEST_F(Memory, AnotherJobsStateIsNotTaken) {
  leave(run_on({2, 1, 1}), 7, 8);
  LayoutRun other = run_on({2, 1, 1});
  other.model.intermediate_size = 32;
  WholeState ignored;
  EXPECT_EQ(restore(other, ignored), std::nullopt);
  EXPECT_THAT(damaged_.all.at(0), HasSubstr("another model"));
  EXPECT_EQ(restore(run_on({2, 1, 1}, ZeroStage::optimizer_state, DType::fp64), ignored), std::nullopt);
}

// Parts on two nodes, and a layout that needs those of the other node.
TEST_F(Memory, RectanglesOfAnotherNodeComeOverTheCommunicator) {
  LayoutRun wide = run_on({2, 2, 1}), across = run_on({1, 2, 2});
  wide.ranks_per_node = across.ranks_per_node = 2;
  leave(wide, 7, 8);
  expect_restored(across, 8, newest_);
  expect_restored(wide, 8, newest_);
  LayoutRun uneven = run_on({3, 1, 1});
  uneven.ranks_per_node = 2;
  expect_restored(uneven, 8, newest_);
}

/// As the nodes' agents do: every rank's snapshot of that step goes to its partner's node.
void copy_to_partners(const TestMemory& memory, const LayoutRun& run, int64_t step) {
  std::vector<int> node_of(static_cast<size_t>(run.layout.mesh.ranks()));
  for (size_t rank = 0; rank < node_of.size(); ++rank) node_of[rank] = static_cast<int>(rank) / run.ranks_per_node;
  const auto partners = snapshot_partners(run.layout.mesh, kDefaultMeshOrder, node_of);
  for (size_t rank = 0; rank < node_of.size(); ++rank) {
    SnapshotSender sender(memory.of_node(node_of[rank]), static_cast<int>(rank), step);
    SnapshotReceiver receiver(memory.of_node(node_of[static_cast<size_t>(partners[rank])]));
    while (const auto message = sender.next(1024)) receiver.take(*message);
  }
}

LayoutRun on_two_nodes() {
  LayoutRun run = run_on({2, 2, 1});
  run.ranks_per_node = 2;
  return run;
}

// node-off: all of a node's shared memory is lost, and no byte is read from disk.
TEST_F(Memory, S13WhatALostNodeHeldComesFromItsPartners) {
  const LayoutRun run = on_two_nodes();
  for (const int lost : {0, 1}) {
    SCOPED_TRACE(lost);
    leave(run, 7, 8);
    copy_to_partners(memory_, run, 8);
    memory_.remove(".node" + std::to_string(lost));
    expect_restored(run, 8, newest_);
    LayoutRun left = run_on({1, 2, 1});  // no other node takes its place
    expect_restored(left, lost == 0 ? std::nullopt : std::optional<int64_t>(8), newest_);
    memory_.remove({});
  }
  EXPECT_FALSE(std::filesystem::exists(scratch_ / "root" / "step_00000008"));
}

// snapshot-pair-off: a rank's node and that of its copy are lost. What is missing is said; only checkpoints are left.
TEST_F(Memory, S14WithoutTheCopyTooTheNewestCheckpointIsLeft) {
  LayoutRun run = run_on({4, 1, 1});
  run.ranks_per_node = 1;
  leave(run, 7, 8);
  copy_to_partners(memory_, run, 8);
  memory_.remove(".node1");
  expect_restored(run, 8, newest_);
  memory_.remove(".node2");
  WholeState ignored;
  EXPECT_EQ(restore(run, ignored), std::nullopt);
  ASSERT_EQ(damaged_.all.size(), 1U);
  EXPECT_THAT(damaged_.all[0], HasSubstr("step 8: no node holds the part of rank 1 of 4"));
}

// A copy takes the place of a snapshot that is damaged, without a step lost.
TEST_F(Memory, S22ADamagedSnapshotIsReplacedByItsCopy) {
  const LayoutRun run = on_two_nodes();
  leave(run, 7, 8);
  copy_to_partners(memory_, run, 8);
  EXPECT_EQ(memory_.flip(0, 8, ".node0"), 1);
  expect_restored(run, 8, newest_);
  EXPECT_EQ(damaged_.all.size(), 1U);
  EXPECT_EQ(memory_.flip(0, 8, ".node1"), 1);
  expect_restored(run, 7, before_);
}

// shm-exhausted: no room in shared memory is told, and only checkpoints are left to restart from.
TEST_F(Memory, S33WithoutRoomInSharedMemoryTheRunGoesOn) {
  const LayoutRun run = run_on({2, 1, 1});
  (void)train(run, {.end = [&](const Engine& engine) {
                CheckpointerOptions options = options_of(run, scratch_ / "root");
                // Only one rank has no place: all go without.
                const int rank = engine.mesh().world().rank();
                options.memory = rank == 1 ? "/no/such/place" : memory_.of_node(0);
                Checkpointer checkpointer(engine, std::move(options));
                checkpointer.start(0);
                EXPECT_THAT(checkpointer.without_memory(), HasSubstr("rank 1: "));
                EXPECT_THAT(checkpointer.without_memory(), HasSubstr("/no/such/place"));
                snapshot_now(checkpointer, 1);
                ASSERT_TRUE(checkpointer.save(2, 8));
                EXPECT_EQ(checkpointer.finish().at(0).error, "");
              }});
  EXPECT_THAT(memory_.names(), IsEmpty());
  EXPECT_EQ(CheckpointRoot(scratch_ / "root").list().at(0).step, 2);
}

}  // namespace
}  // namespace trident::testing
