#include <gtest/gtest.h>

#include <cmath>
#include <mutex>

#include "model/build.h"
#include "model/model.h"
#include "parallel/comm/threads/thread_ranks.h"
#include "tests/model/fixtures.h"
#include "tests/model/global_index.h"

namespace trident {
namespace {

using testing::TokenData;

constexpr int64_t kBatch = 2, kSequence = 6;  // 12 rows, which 2, 3, 4 and 6 ranks divide

// Sizes that many widths divide, and a vocabulary that none does.
ModelConfig config_of(Architecture architecture, int64_t kv_heads, bool tied) {
  return testing::sized_model(
      architecture, tied,
      {.width = {24, 36}, .layers = 2, .heads = {12, kv_heads}, .vocabulary = 17, .positions = 8, .deviation = 0.2});
}

struct Case {
  std::string name;
  ModelConfig config;
  int tp;
  bool sequence_parallel;
  Recompute recompute = Recompute::none;
  bool split_backward = false;
};

// Forward of all layers, then all input gradients, then all weight gradients.
double run_split(const Model& model, const Stream& stream, const Microbatch& microbatch) {
  HeapAllocator heap;
  Context context{stream, heap, &microbatch};
  const auto layers = model.layers();
  std::vector<Saved> saved(layers.size());
  Tensor x = microbatch.tokens, dx;
  for (size_t i = 0; i < layers.size(); ++i) x = layers[i]->forward(context, x, saved[i]);
  for (size_t i = layers.size(); i-- > 0;) dx = layers[i]->backward_input(context, dx, saved[i]);
  for (size_t i = layers.size(); i-- > 0;) layers[i]->backward_weight(context, saved[i]);
  testing::complete_table(model, stream);
  testing::complete_table(model, stream);
  return context.loss() * microbatch.loss_weight;
}

class TensorParallelTest : public ::testing::TestWithParam<Case> {};

TEST_P(TensorParallelTest, LossAndGradientsEqualTheSerialModels) {
  const Case& test = GetParam();
  const TokenData data(kBatch, kSequence, test.config.vocab_size);
  const Stream stream = Stream::cpu(1);
  Model serial(test.config, DType::fp64, Recompute::none, stream);
  serial.storage().initialize(5, stream);
  const double expected = testing::run(serial, stream, data.microbatch);

  std::mutex mutex;
  run_ranks(test.tp, [&](const Communicator& world) {
    const Stream own = Stream::cpu(1);
    const TensorParallel tp = join_tensor_parallel(world, test.config.num_key_value_heads, test.sequence_parallel);
    Model model(test.config, DType::fp64, test.recompute, own, ModelPart{tp, {}, {}});
    model.storage().initialize(5, own);
    const double loss =
        test.split_backward ? run_split(model, own, data.microbatch) : testing::run(model, own, data.microbatch);
    for (const Parameter* parameter : model.storage().parameters()) sum_partial_gradient(*parameter, tp);
    const std::lock_guard lock(mutex);
    EXPECT_NEAR(loss, expected, 1e-12 * expected);
    for (const Parameter* parameter : model.storage().parameters()) {
      const Parameter& whole = serial.storage().find(parameter->name);
      for (int64_t i = 0; i < parameter->value.elements(); ++i) {
        const int64_t global = testing::global_index(*parameter, i);
        ASSERT_EQ(parameter->value.data<double>()[i], whole.value.data<double>()[global]) << parameter->name;
        ASSERT_NEAR(parameter->grad.data<double>()[i], whole.grad.data<double>()[global], 1e-12)
            << parameter->name << " element " << i << " of rank " << world.rank();
      }
    }
  });
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const int tp : {1, 2, 3, 4, 6}) {
    for (const bool sequence : {false, true}) {
      const std::string suffix = "_tp" + std::to_string(tp) + (sequence ? "_sp" : "");
      all.push_back({"gpt2" + suffix, config_of(Architecture::gpt2, 12, true), tp, sequence});
      all.push_back({"llama_gqa" + suffix, config_of(Architecture::llama, tp == 4 ? 4 : 6, false), tp, sequence});
      all.push_back({"llama_tied" + suffix, config_of(Architecture::llama, 12, true), tp, sequence});
      all.push_back({"llama_split" + suffix, config_of(Architecture::llama, 12, false), tp, sequence,
                     Recompute::selective, true});
      all.push_back({"gpt2_full" + suffix, config_of(Architecture::gpt2, 12, true), tp, sequence, Recompute::full});
      all.push_back(
          {"llama_selective" + suffix, config_of(Architecture::llama, 12, true), tp, sequence, Recompute::selective});
      if (tp % 2 == 0 || tp == 3)
        all.push_back(
            {"llama_replicated_kv" + suffix, config_of(Architecture::llama, tp == 3 ? 1 : 2, false), tp, sequence});
    }
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(Layouts, TensorParallelTest, ::testing::ValuesIn(cases()),
                         [](const auto& instance) { return instance.param.name; });

TEST(TensorParallel, WidthsThatDoNotDivideAreRefusedByName) {
  const ModelConfig config = config_of(Architecture::llama, 6, false);
  try {
    validate_tensor_parallel(config, 5);
    FAIL();
  } catch (const Error& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find("num_attention_heads 12"), std::string::npos);
    EXPECT_NE(text.find("num_key_value_heads 6"), std::string::npos);
    EXPECT_NE(text.find("intermediate_size 36"), std::string::npos);
  }
  EXPECT_THROW(validate_tensor_parallel(config, 4), Error);  // 6 heads on 4 ranks
}

}  // namespace
}  // namespace trident
