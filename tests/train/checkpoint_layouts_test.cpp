// However a job lay on its ranks when it was saved, and however it lies when it goes on: it is the same training.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "core/philox.h"
#include "tests/scratch_dir.h"
#include "tests/train/saving.h"

namespace trident::testing {
namespace {

using test::ScratchDir;

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr int kLoadsPerSave = 1;
#else
constexpr int kLoadsPerSave = 4;
#endif

constexpr int kSavedStep = 2;

// Every axis may have up to eight ranks; nothing divides evenly by all of them.
ModelConfig model_of(Architecture architecture, bool tied) {
  return sized_model(architecture, tied,
                     {.width = {16, 24},
                      .layers = 8,
                      .heads = {8, architecture == Architecture::llama ? 2 : 8},
                      .vocabulary = 19,
                      .positions = 8,
                      .deviation = 0.15});
}

LayoutRun run_of(const ModelConfig& model, MeshShape mesh, const std::string& schedule = "1f1b",
                 ZeroStage zero = ZeroStage::optimizer_state) {
  LayoutRun run;
  run.model = model;
  run.global_batch_size = 8;
  run.steps = kSavedStep;
  run.layout = layout_of(mesh, schedule);
  run.layout.zero_stage = zero;
  return run;
}

/// Every dp × tp × pp of up to eight ranks, half of them with ZeRO 0, and virtual stages.
std::vector<LayoutRun> all_layouts(const ModelConfig& model) {
  std::vector<LayoutRun> runs;
  for (int dp = 1; dp <= 8; ++dp) {
    for (int tp = 1; dp * tp <= 8; ++tp) {
      if (8 % tp != 0) continue;
      for (int pp = 1; dp * tp * pp <= 8; ++pp)
        runs.push_back(run_of(model, {dp, tp, pp}, "1f1b",
                              runs.size() % 2 == 0 ? ZeroStage::optimizer_state : ZeroStage::replicated));
    }
  }
  for (const ZeroStage zero : {ZeroStage::replicated, ZeroStage::optimizer_state}) {
    runs.push_back(run_of(model, {2, 2, 2}, "interleaved", zero));
    runs.push_back(run_of(model, {1, 1, 4}, "zb-v", zero));
    runs.push_back(run_of(model, {4, 1, 2}, "zb-h1", zero));
    runs.push_back(run_of(model, {3, 2, 1}, "gpipe", zero));
  }
  return runs;
}

class CheckpointSceptic : public ::testing::TestWithParam<std::pair<Architecture, bool>> {
 protected:
  [[nodiscard]] static ModelConfig model() { return model_of(GetParam().first, GetParam().second); }
};

TEST_P(CheckpointSceptic, T8ElasticMatrix) {
  const ScratchDir scratch;
  const std::vector<LayoutRun> runs = all_layouts(model());
  const bool all = std::getenv("TRIDENT_LONG_TESTS") != nullptr;
  const RandomStream random(8, "layouts");
  uint64_t draw = 0;
  std::map<std::string, std::vector<TensorDigest>> digests;
  for (const LayoutRun& saving : runs) {
    SCOPED_TRACE("saved under " + saving.to_string());
    const auto root = scratch / "checkpoints";
    StateCollector saved;
    (void)train(saving, {.end = [&](const Engine& engine) {
                  saved.add(engine);
                  save_now(engine, saving, root, kSavedStep);
                }});
    for (size_t i = 0; i < (all ? runs.size() : kLoadsPerSave); ++i) {
      const size_t chosen = all ? i : static_cast<size_t>(random.uniform(draw++) * static_cast<double>(runs.size()));
      LayoutRun loading = runs[chosen];
      SCOPED_TRACE("loaded under " + loading.to_string());
      StateCollector loaded;
      (void)train(
          loading, {.start = [&](Engine& engine) {
            const auto point = load_now(engine, loading, root);
            EXPECT_TRUE(point && point->step == kSavedStep && point->samples == kSavedStep * saving.global_batch_size);
            loaded.add(engine);
            return kSavedStep;
          }});
      ASSERT_EQ(difference(saved.state(), loaded.state()), "");
    }
    std::filesystem::remove_all(root);
  }
}

// Digests do not depend on the layout: what two layouts hold alike they digest alike.
TEST_P(CheckpointSceptic, T8DigestsAreTheSameUnderEveryLayout) {
  const ScratchDir scratch;
  const auto root = scratch / "checkpoints";
  (void)train(run_of(model(), {1, 1, 1}), {.end = [&](const Engine& engine) {
                save_now(engine, run_of(model(), {1, 1, 1}), root, kSavedStep);
              }});
  const Manifest expected = read_manifest(CheckpointRoot(root).folder(kSavedStep));
  for (const LayoutRun& run : all_layouts(model())) {
    SCOPED_TRACE(run.to_string());
    const auto other = scratch / "other";
    (void)train(run, {.start = [&](Engine& engine) {
                  EXPECT_TRUE(load_now(engine, run, root));
                  engine.wait_parameters();
                  save_now(engine, run, other, kSavedStep);
                  return kSavedStep;
                }});
    const Manifest found = read_manifest(CheckpointRoot(other).folder(kSavedStep));
    EXPECT_TRUE(found.digests == expected.digests);
    EXPECT_TRUE(found.tensors == expected.tensors);
    std::filesystem::remove_all(other);
  }
}

// Saved after 2 of 5 steps under one layout, the rest under another: the losses of the run that was never stopped.
TEST_P(CheckpointSceptic, T10ChangedLayoutGoesOn) {
  const ScratchDir scratch;
  const auto root = scratch / "checkpoints";
  std::vector<LayoutRun> runs{run_of(model(), {2, 2, 2}, "interleaved"),
                              run_of(model(), {1, 8, 1}),
                              run_of(model(), {7, 1, 1}, "1f1b", ZeroStage::replicated),
                              run_of(model(), {1, 1, 8}),
                              run_of(model(), {3, 2, 1}),
                              run_of(model(), {1, 1, 1})};
  LayoutRun whole = run_of(model(), {1, 1, 1});
  whole.steps = 5;
  const LayoutOutcome expected = train(whole);
  for (size_t i = 0; i < runs.size(); ++i) {
    const LayoutRun& saving = runs[i];
    LayoutRun loading = runs[(i + 1) % runs.size()];
    loading.steps = whole.steps;
    SCOPED_TRACE(saving.to_string() + " then " + loading.to_string());
    (void)train(saving, {.end = [&](const Engine& engine) { save_now(engine, saving, root, kSavedStep); }});
    const LayoutOutcome resumed = train(loading, {.start = [&](Engine& engine) {
                                          EXPECT_TRUE(load_now(engine, loading, root));
                                          return kSavedStep;
                                        }});
    ASSERT_EQ(resumed.losses.size(), 3U);
    for (size_t step = 0; step < resumed.losses.size(); ++step) {
      const double loss = expected.losses[kSavedStep + step];
      EXPECT_NEAR(resumed.losses[step], loss, 1e-12 * loss);
    }
    std::filesystem::remove_all(root);
  }
}

INSTANTIATE_TEST_SUITE_P(Models, CheckpointSceptic,
                         ::testing::Values(std::pair{Architecture::llama, false}, std::pair{Architecture::gpt2, true}),
                         [](const auto& instance) { return std::string(to_string(instance.param.first)); });

class SameLayout : public ::testing::TestWithParam<LayoutRun> {};

TEST_P(SameLayout, T10SameLayoutResumesBitForBit) {
  const ScratchDir scratch;
  LayoutRun run = GetParam();
  run.steps = 100;
  const LayoutOutcome expected = train(run);
  LayoutRun part = run;
  part.steps = 37;
  const auto root = scratch / "checkpoints";
  (void)train(part, {.end = [&](const Engine& engine) { save_now(engine, part, root, part.steps); }});
  LayoutOutcome resumed = train(run, {.start = [&](Engine& engine) {
                                  EXPECT_TRUE(load_now(engine, run, root));
                                  return part.steps;
                                }});
  for (const auto member : {&LayoutOutcome::losses, &LayoutOutcome::norms}) {
    std::vector<double>& values = resumed.*member;
    values.insert(values.begin(), (expected.*member).begin(), (expected.*member).begin() + part.steps);
  }
  EXPECT_EQ(difference(expected, resumed), "");
}

std::vector<LayoutRun> same_layouts() {
  std::vector<LayoutRun> runs;
  for (const DType compute : {DType::fp32, DType::bf16}) {
    runs.push_back(run_of(model_of(Architecture::llama, false), {2, 2, 2}, "zb-h1"));
    runs.back().compute = compute;
    runs.push_back(run_of(model_of(Architecture::gpt2, true), {3, 1, 2}, "1f1b", ZeroStage::replicated));
    runs.back().compute = compute;
  }
  return runs;
}

INSTANTIATE_TEST_SUITE_P(Layouts, SameLayout, ::testing::ValuesIn(same_layouts()), [](const auto& instance) {
  return fmt::format("{}_{}_{}", instance.index, to_string(instance.param.model.architecture),
                     to_string(instance.param.compute));
});

}  // namespace
}  // namespace trident::testing
