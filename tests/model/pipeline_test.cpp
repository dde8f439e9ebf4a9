#include <gtest/gtest.h>

#include <cstring>
#include <mutex>
#include <optional>

#include "model/model.h"
#include "parallel/comm/threads/thread_ranks.h"
#include "parallel/pipeline/executor.h"
#include "parallel/pipeline/lower.h"
#include "parallel/pipeline/validate.h"
#include "tests/model/fixtures.h"

namespace trident {
namespace {

using pipeline::Executor;
using pipeline::Schedule;
using testing::complete_table;
using testing::TokenData;

constexpr int64_t kBatch = 2, kSequence = 6;

struct Case {
  std::string name;
  std::string schedule;
  int pp = 1;
  int64_t virtual_stages = 1;
  int32_t microbatches = 1;
  int tp = 1;
  Architecture architecture = Architecture::llama;
  bool tied = false;
};

ModelConfig config_of(const Case& test) {
  return testing::sized_model(
      test.architecture, test.tied,
      {.width = {12, 20}, .layers = 7, .heads = {2}, .vocabulary = 17, .positions = 8, .deviation = 0.2});
}

// Layers cut as evenly as they come, the first stages larger.
LayerRange range_of(const ModelConfig& config, int32_t stage, int32_t stages) {
  const ShardRange part = shard_range(config.num_hidden_layers + 2, stage, stages);
  return {part.begin, part.begin + part.count};
}

struct Data {
  std::vector<std::unique_ptr<TokenData>> owned;
  std::vector<Microbatch> microbatches;

  explicit Data(int32_t count) {
    for (int32_t i = 0; i < count; ++i) {
      owned.push_back(std::make_unique<TokenData>(kBatch, kSequence, 17, static_cast<uint64_t>(i) + 1));
      microbatches.push_back(owned.back()->microbatch);
    }
  }
};

// A rank's part of the model in a pipeline, and one step through it.
class Rank {
 public:
  Rank(const Case& test, const Communicator& world, const Schedule& schedule, const Stream& stream)
      : test_(test), stream_(stream), schedule_(schedule) {
    const int place = world.rank() / test.tp;
    tp_.comm = world.split(place, world.rank(), "tp");
    pp_ = world.split(world.rank() % test.tp, world.rank(), "pp");
    tp_.sequence_parallel = true;
    const bool end = place == 0 || place == schedule.rank_of(schedule.stages() - 1);
    tied_ = pp_.split(end ? 0 : -1, pp_.rank(), "tied");
    std::vector<LayerRange> ranges;
    for (const int32_t stage : schedule.stages_of(pp_.rank()))
      ranges.push_back(range_of(config_of(test), stage, schedule.stages()));
    model_.emplace(config_of(test), DType::fp64, Recompute::none, stream_, ModelPart{tp_, ranges, {}});
    if (stream.device().kind == DeviceKind::meta) return;
    model_->storage().initialize(5, stream_);
    model_->storage().zero_gradients(stream_);
  }

  std::vector<double> step(std::span<const Microbatch> microbatches, Allocator& allocator) {
    std::map<int32_t, Executor::StageLayers> stages;
    size_t index = 0;
    for (const int32_t stage : schedule_.stages_of(pp_.rank())) stages[stage] = model_->layers(index++);
    pipeline::ExecutorHooks hooks;
    hooks.reduce_tied = [this] {
      Tensor table = model_->groups().at(*model_->tied_group())->grad;
      model_->complete_table_gradient(stream_, table);
      tied_.all_reduce(table);
    };
    const Shape rows{kBatch * kSequence / test_.tp, config_of(test_).hidden_size};
    Executor executor(schedule_, std::move(stages), pp_, rows, DType::fp64, hooks);
    auto losses = executor.run(stream_, allocator, microbatches);
    if (schedule_.stages() == 1) complete_table(*model_, stream_);
    for (const Parameter* parameter : model_->storage().parameters()) sum_partial_gradient(*parameter, tp_);
    return losses;
  }

  [[nodiscard]] const Model& model() const { return *model_; }
  [[nodiscard]] bool has_loss() const { return pp_.rank() == schedule_.rank_of(schedule_.stages() - 1); }

 private:
  Case test_;
  Stream stream_;
  Schedule schedule_;
  TensorParallel tp_;
  Communicator pp_ = Communicator::self(), tied_ = Communicator::self();
  std::optional<Model> model_;
};

class PipelineTest : public ::testing::TestWithParam<Case> {};

TEST_P(PipelineTest, LossesAndGradientsEqualTheSerialModels) {
  const Case& test = GetParam();
  const Data data(test.microbatches);
  const Schedule schedule =
      pipeline::lower(pipeline::make_schedule({test.schedule, test.pp, test.microbatches, test.virtual_stages}),
                      {.tied_embedding = test.tied});

  const Stream stream = Stream::cpu(1);
  Model serial(config_of(test), DType::fp64, Recompute::none, stream);
  serial.storage().initialize(5, stream);
  serial.storage().zero_gradients(stream);
  std::vector<double> expected;
  for (const Microbatch& microbatch : data.microbatches) {
    HeapAllocator heap;
    Context context{stream, heap, &microbatch};
    serial.forward_backward(context);
    expected.push_back(context.loss());
  }

  std::mutex mutex;
  run_ranks(test.pp * test.tp, [&](const Communicator& world) {
    Rank rank(test, world, schedule, Stream::cpu(1));
    HeapAllocator heap;
    const auto losses = rank.step(data.microbatches, heap);
    const std::lock_guard lock(mutex);
    for (size_t i = 0; i < losses.size() && rank.has_loss(); ++i)
      EXPECT_NEAR(losses[i], expected[i], 1e-12 * expected[i]);
    for (const Parameter* parameter : rank.model().storage().parameters()) {
      if (parameter->sharded() && test.tp > 1) continue;  // tensor_parallel_test.cpp compares shards
      const Parameter& whole = serial.storage().find(parameter->name);
      for (int64_t i = 0; i < parameter->grad.elements(); ++i)
        ASSERT_NEAR(parameter->grad.data<double>()[i], whole.grad.data<double>()[i], 1e-12) << parameter->name;
    }
  });
}

TEST_P(PipelineTest, ADryRunPlansTheStepsMemory) {
  const Case& test = GetParam();
  const Data data(test.microbatches);
  const Schedule schedule =
      pipeline::lower(pipeline::make_schedule({test.schedule, test.pp, test.microbatches, test.virtual_stages}),
                      {.tied_embedding = test.tied});
  run_ranks(test.pp * test.tp, [&](const Communicator& world) {
    ArenaRecorder recorder;
    {
      HeapAllocator meta(Device::meta());
      const Microbatch shapes{meta.allocate({kBatch, kSequence}, DType::int32),
                              meta.allocate({kBatch, kSequence}, DType::int32), 1.0};
      const std::vector<Microbatch> microbatches(data.microbatches.size(), shapes);
      (void)Rank(test, world, schedule, Stream::meta()).step(microbatches, recorder);
    }
    const ArenaPlan plan = recorder.plan();
    Arena arena(plan, map_memory(plan.total_bytes));
    HeapAllocator heap;
    Rank planned(test, world, schedule, Stream::cpu(1)), free(test, world, schedule, Stream::cpu(1));
    EXPECT_EQ(planned.step(data.microbatches, arena), free.step(data.microbatches, heap));
    arena.rewind();  // throws if anything outlives the step
    const Tensor a = planned.model().storage().grads(), b = free.model().storage().grads();
    EXPECT_EQ(std::memcmp(a.raw(), b.raw(), a.bytes()), 0);
  });
}

std::vector<Case> cases() {
  std::vector<Case> all;
  const auto add = [&](const std::string& schedule, int pp, int64_t v, int32_t m, int tp = 1) {
    for (const bool tied : {false, true}) {
      std::string name = schedule + "_pp" + std::to_string(pp) + "_v" + std::to_string(v) + "_m" + std::to_string(m) +
                         "_tp" + std::to_string(tp) + (tied ? "_tied" : "");
      for (char& c : name) c = c == '-' ? '_' : c;
      all.push_back({name, schedule, pp, v, m, tp, tied ? Architecture::gpt2 : Architecture::llama, tied});
    }
  };
  for (const int pp : {1, 2, 3, 4, 7}) {
    for (const int32_t m : {1, 4, 9}) {
      add("gpipe", pp, 1, m);
      add("1f1b", pp, 1, m);
      add("zb-h1", pp, 1, m);
      if (pp <= 4) add("zb-v", pp, 2, m);
    }
  }
  add("interleaved", 2, 2, 4);
  add("interleaved", 2, 4, 6);
  add("interleaved", 3, 3, 7);
  add("interleaved", 4, 2, 8);
  add("1f1b", 2, 1, 4, 2);
  add("zb-v", 2, 2, 5, 2);
  add("interleaved", 2, 2, 4, 2);
  return all;
}

INSTANTIATE_TEST_SUITE_P(Schedules, PipelineTest, ::testing::ValuesIn(cases()),
                         [](const auto& instance) { return instance.param.name; });

}  // namespace
}  // namespace trident
