#include "model/generator.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/model/fixtures.h"

namespace trident {
namespace {

using testing::Family;

class GeneratorTest : public ::testing::TestWithParam<Family> {
 protected:
  GeneratorTest() { model.storage().initialize(4, stream); }

  // The logits after `tokens`, all of them read in one go.
  std::vector<double> logits_after(std::vector<int32_t> tokens) {
    HeapAllocator heap;
    Context context{stream, heap};
    auto caches = model.make_caches(std::ssize(tokens));
    const Tensor input = Tensor::borrow(tokens.data(), {1, std::ssize(tokens)}, DType::int32);
    const Tensor logits = model.forward_cached(context, input, 0, caches);
    return {logits.data<double>(), logits.data<double>() + logits.elements()};
  }

  Stream stream = Stream::cpu(1);
  ModelConfig config = testing::tiny_config(GetParam());
  Model model{config, DType::fp64, Recompute::none, stream};
};

TEST_P(GeneratorTest, TokenByTokenEqualsReadingTheWholeSequence) {
  Generator generator(model, stream);
  std::vector<int32_t> sequence = {3, 1, 4};
  const auto generated = generator.generate(sequence, 8, {.temperature = 0});
  ASSERT_EQ(generated.size(), 8u);
  for (const int32_t token : generated) {
    const auto logits = logits_after(sequence);
    EXPECT_EQ(token, std::max_element(logits.begin(), logits.end()) - logits.begin());
    sequence.push_back(token);
  }
}

TEST_P(GeneratorTest, TheCachedForwardHasTheTrainingForwardsLoss) {
  // Cross-entropy of the last position by hand from the cached logits, against the training path.
  testing::TokenData data(1, 7, config.vocab_size);
  std::fill(data.labels.begin(), data.labels.end(), -1);
  data.labels.back() = 5;
  data.microbatch.loss_weight = 1.0;
  const auto logits = logits_after(data.tokens);
  double sum = 0;
  for (const double logit : logits) sum += std::exp(logit);
  EXPECT_NEAR(std::log(sum) - logits[5], testing::run_forward(model, stream, data.microbatch), 1e-12);
}

TEST_P(GeneratorTest, GoesOnPastTheLastPosition) {
  Generator generator(model, stream);
  const std::vector<int32_t> prompt(20, 2);  // longer than the model's 11 positions
  EXPECT_EQ(generator.generate(prompt, 40, {.seed = 8}).size(), 40u);
}

TEST_P(GeneratorTest, StopsWhenTheVisitorSaysSo) {
  Generator generator(model, stream);
  const std::vector<int32_t> prompt = {1};
  int seen = 0;
  EXPECT_EQ(generator.generate(prompt, 40, {}, [&](int32_t) { return ++seen < 3; }).size(), 3u);
}

TEST_P(GeneratorTest, RefusesEmptyPromptsAndForeignTokens) {
  Generator generator(model, stream);
  EXPECT_THROW(generator.generate({}, 1, {}), Error);
  const std::vector<int32_t> foreign = {17};
  EXPECT_THROW(generator.generate(foreign, 1, {}), Error);
}

INSTANTIATE_TEST_SUITE_P(Families, GeneratorTest,
                         ::testing::Values(Family::llama_gqa, Family::llama_tied, Family::gpt2_tied),
                         [](const auto& instance) { return testing::name_of(instance.param); });

}  // namespace
}  // namespace trident
