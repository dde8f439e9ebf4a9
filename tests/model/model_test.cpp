#include "model/model.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "tests/model/fixtures.h"

namespace trident {
namespace {

using testing::Family;
using testing::TokenData;

class ModelTest : public ::testing::TestWithParam<Family> {
 protected:
  ModelConfig config = testing::tiny_config(GetParam());
  TokenData data{2, 9, config.vocab_size};
};

TEST_P(ModelTest, GradientsMatchFiniteDifferencesInFp64) {
  const Stream stream = Stream::cpu(1);
  Model model(config, DType::fp64, Recompute::none, stream);
  model.storage().initialize(5, stream);
  model.storage().zero_gradients(stream);
  testing::run(model, stream, data.microbatch);
  const RandomStream random(9, "elements");
  constexpr double kStep = 1e-5;
  uint64_t draw = 0;
  for (Parameter* parameter : model.storage().parameters()) {
    for (int probe = 0; probe < 4; ++probe) {
      const auto elements = static_cast<double>(parameter->value.elements());
      double& weight = parameter->value.data<double>()[static_cast<int64_t>(random.uniform(draw++) * elements)];
      const double gradient = parameter->grad.data<double>()[&weight - parameter->value.data<double>()];
      const double kept = weight;
      weight = kept + kStep;
      const double above = testing::run_forward(model, stream, data.microbatch);
      weight = kept - kStep;
      const double below = testing::run_forward(model, stream, data.microbatch);
      weight = kept;
      EXPECT_NEAR(gradient, (above - below) / (2 * kStep), 1e-8 + 1e-6 * std::abs(gradient)) << parameter->name;
    }
  }
}

TEST_P(ModelTest, StartsNearTheUniformLoss) {
  config.initializer_range = 0.02;
  const Stream stream = Stream::cpu(1);
  Model model(config, DType::fp32, Recompute::none, stream);
  model.storage().initialize(5, stream);
  EXPECT_NEAR(testing::run_forward(model, stream, data.microbatch), std::log(17.0), 0.05);
}

TEST_P(ModelTest, RecomputationAndThreadsDoNotChangeABit) {
  std::vector<float> reference;
  double reference_loss = 0;
  for (const Recompute recompute : {Recompute::none, Recompute::selective, Recompute::full}) {
    for (const int threads : {1, 2, 3}) {
      const Stream stream = Stream::cpu(threads);
      Model model(config, DType::fp32, recompute, stream);
      model.storage().initialize(5, stream);
      model.storage().zero_gradients(stream);
      const double loss = testing::run(model, stream, data.microbatch);
      const Tensor grads = model.storage().grads();
      if (reference.empty()) {
        reference.assign(grads.data<float>(), grads.data<float>() + grads.elements());
        reference_loss = loss;
      }
      EXPECT_EQ(loss, reference_loss);
      EXPECT_EQ(std::memcmp(reference.data(), grads.raw(), grads.bytes()), 0)
          << "recompute " << static_cast<int>(recompute) << ", " << threads << " threads";
    }
  }
}

TEST_P(ModelTest, InputThenWeightPassesInAnyDelayGiveTheSameBits) {
  // Two microbatches interleaved by hand, weight passes last: what a zero-bubble schedule does.
  const Stream stream = Stream::cpu(1);
  Model serial(config, DType::fp32, Recompute::none, stream), delayed(config, DType::fp32, Recompute::none, stream);
  const TokenData second{2, 9, config.vocab_size, 2};
  for (Model* model : {&serial, &delayed}) {
    model->storage().initialize(5, stream);
    model->storage().zero_gradients(stream);
  }
  testing::run(serial, stream, data.microbatch);
  testing::run(serial, stream, second.microbatch);

  HeapAllocator heap;
  Context contexts[] = {{stream, heap, &data.microbatch}, {stream, heap, &second.microbatch}};
  const auto layers = delayed.layers();
  std::vector<std::vector<Saved>> saved(2, std::vector<Saved>(layers.size()));
  for (size_t m = 0; m < 2; ++m) {
    Tensor x = contexts[m].microbatch->tokens;
    for (size_t i = 0; i < layers.size(); ++i) x = layers[i]->forward(contexts[m], x, saved[m][i]);
  }
  for (size_t m = 0; m < 2; ++m) {
    Tensor dx;
    for (size_t i = layers.size(); i-- > 0;) dx = layers[i]->backward_input(contexts[m], dx, saved[m][i]);
  }
  for (size_t m = 0; m < 2; ++m) {
    for (size_t i = layers.size(); i-- > 0;) layers[i]->backward_weight(contexts[m], saved[m][i]);
    testing::complete_table(delayed, stream);
  }

  const Tensor a = serial.storage().grads(), b = delayed.storage().grads();
  EXPECT_EQ(std::memcmp(a.raw(), b.raw(), a.bytes()), 0);
}

TEST_P(ModelTest, Bf16StaysCloseToFp32) {
  const Stream stream = Stream::cpu(1);
  Model wide(config, DType::fp32, Recompute::none, stream), narrow(config, DType::bf16, Recompute::none, stream);
  wide.storage().initialize(5, stream);
  narrow.storage().initialize(5, stream);
  EXPECT_NEAR(testing::run(wide, stream, data.microbatch), testing::run(narrow, stream, data.microbatch), 0.03);
}

TEST_P(ModelTest, ParameterCountIsTheSumOfTheDescribedShapes) {
  int64_t sum = 0;
  for (const Parameter& parameter : describe_parameters(config)) sum += parameter.global_shape.elements();
  EXPECT_EQ(sum, parameter_count(config));
}

INSTANTIATE_TEST_SUITE_P(Families, ModelTest,
                         ::testing::Values(Family::llama_gqa, Family::llama_tied, Family::gpt2_tied),
                         [](const auto& instance) { return testing::name_of(instance.param); });

}  // namespace
}  // namespace trident
