#include "kernels/gemm_tuning.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <set>
#include <thread>

#include "core/error.h"
#include "kernels/attention.h"
#include "kernels/cpu/blas.h"
#include "kernels/linear.h"
#include "tests/kernels/random_tensors.h"
#include "tests/scratch_dir.h"

namespace trident {
namespace {

namespace fs = std::filesystem;

const GemmKey kForward{GemmForm::nt, 256, 512, 64, DType::fp32};
const GemmKey kWeights{GemmForm::tn, 128, 256, 2048, DType::bf16};
const GemmKey kWeightsInFp8{GemmForm::tn, 128, 256, 2048, DType::bf16, false, DeviceKind::cuda, true};

class GemmCache : public ::testing::Test {
 protected:
  test::ScratchDir folder_;
};

TEST(GemmChoices, RoundTripThroughJson) {
  GemmChoices choices;
  choices.set(kForward, "onednn");
  choices.set(kWeights, "strange \"name\"\n");
  choices.set(kWeightsInFp8, "cublaslt:1");
  EXPECT_EQ(GemmChoices::parse(choices.to_json()), choices);
  EXPECT_EQ(GemmChoices::parse(GemmChoices().to_json()), GemmChoices());
}

TEST(GemmChoices, Fp8IsAnotherProduct) {
  GemmKey in_bf16 = kWeightsInFp8;
  in_bf16.fp8 = false;
  GemmChoices choices;
  choices.set(kWeightsInFp8, "cublaslt:1");
  EXPECT_EQ(choices.find(in_bf16), nullptr);
  EXPECT_EQ(kWeightsInFp8.to_string(), "tn 128x256x2048 bf16 cuda fp8");
  EXPECT_EQ(kWeightsInFp8.operand_size(), 1u);
  EXPECT_EQ(in_bf16.operand_size(), 2u);
}

TEST(GemmChoices, DamagedTextIsAnErrorAndNeverACrash) {
  GemmChoices choices;
  choices.set(kForward, "blis");
  const std::string good = choices.to_json();
  for (size_t length = 0; length + 2 < good.size(); ++length) {
    EXPECT_THROW((void)GemmChoices::parse(good.substr(0, length)), Error) << length;
  }
  for (const char* bad :
       {"[]", "null", "7", "{}", R"({"version": 2, "choices": []})", R"({"version": 1, "choices": [1]})",
        R"({"version":1,"choices":[{"form":"nt","m":1.5,"n":1,"k":1,"dtype":"fp32","library":"blis"}]})",
        R"({"version":1,"choices":[{"form":"nt","m":0,"n":1,"k":1,"dtype":"fp32","library":"blis"}]})",
        R"({"version":1,"choices":[{"form":"nt","m":1,"n":1,"k":-1,"dtype":"fp32","library":"blis"}]})",
        R"({"version":1,"choices":[{"form":"xx","m":1,"n":1,"k":1,"dtype":"fp32","library":"blis"}]})",
        R"({"version":1,"choices":[{"form":"nt","m":1,"n":1,"k":1,"dtype":"int32","library":"blis"}]})",
        R"({"version":1,"choices":[{"form":"nt","m":1,"n":1,"k":1e300,"dtype":"fp32","library":"blis"}]})",
        R"({"version":1,"choices":[{"form":"nt","m":1,"n":1,"k":1,"dtype":"fp32","library":7}]})",
        R"({"version":1,"choices":[{"form":"nt","m":1,"n":1,"k":1,"dtype":"fp32","library":""}]})"}) {
    EXPECT_THROW((void)GemmChoices::parse(bad), Error) << bad;
  }
}

TEST(TuneGemms, ChoosesALibraryOfThisProcessForEveryKeyAndKeepsWhatIsKnown) {
  GemmChoices known;
  known.set(kWeights, "kept");
  const GemmProducts products{{kForward, {}}, {kWeights, {}}, {{GemmForm::nn, 1, 1, 1, DType::fp64}, {}}};
  const GemmChoices choices = tune_gemms(products, known);
  EXPECT_EQ(choices.table().size(), products.size());
  EXPECT_EQ(*choices.find(kWeights), "kept");
  EXPECT_EQ(*choices.find({GemmForm::nn, 1, 1, 1, DType::fp64}), "openblas");
  EXPECT_NE(cpu::find_blas_library(*choices.find(kForward)), nullptr);
}

TEST(TuneGemms, WithoutTimeEverythingIsOpenBlas) {
  const GemmChoices choices = tune_gemms({{kForward, {}}, {kWeights, {}}}, {}, std::chrono::milliseconds(0));
  EXPECT_EQ(*choices.find(kForward), "openblas");
  EXPECT_EQ(*choices.find(kWeights), "openblas");
}

TEST(GemmRecorder, ADryRunAsksForWhatTheRealRunUses) {
  const auto recorder = std::make_shared<GemmRecorder>();
  const Stream dry = Stream::meta();
  dry.attach(recorder);
  HeapAllocator meta(Device::meta());
  const Tensor x = meta.allocate({2, 500, 96}, DType::fp32);
  const Tensor w = meta.allocate({700, 96}, DType::fp32);
  Tensor y = meta.allocate({2, 500, 700}, DType::fp32);
  linear_forward(dry, x, w, {}, y);
  // 700 columns in two of 384 and 316; 1000 rows in eight of 128 (to have 16 blocks), the last of 104.
  const std::set<GemmKey> expected{{GemmForm::nt, 128, 384, 96, DType::fp32},
                                   {GemmForm::nt, 128, 316, 96, DType::fp32},
                                   {GemmForm::nt, 104, 384, 96, DType::fp32},
                                   {GemmForm::nt, 104, 316, 96, DType::fp32}};
  std::set<GemmKey> keys;
  for (const auto& [key, strides] : recorder->products()) {
    keys.insert(key);
    EXPECT_EQ(strides.a, 96);
    EXPECT_EQ(strides.b, 96);
    EXPECT_EQ(strides.c, 700);
  }
  EXPECT_EQ(keys, expected);
}

TEST(GemmRecorder, ForGpusRecordsWholeProducts) {
  const auto recorder = std::make_shared<GemmRecorder>(DeviceKind::cuda);
  const Stream dry = Stream::meta();
  dry.attach(recorder);
  HeapAllocator meta(Device::meta());
  const Tensor x = meta.allocate({2, 500, 96}, DType::bf16), w = meta.allocate({700, 96}, DType::bf16);
  const Tensor bias = meta.allocate({700}, DType::bf16);
  Tensor y = meta.allocate({2, 500, 700}, DType::bf16), dx = meta.allocate({2, 500, 96}, DType::bf16);
  Tensor dw = meta.allocate({700, 96}, DType::fp32), dbias = meta.allocate({700}, DType::fp32);
  linear_forward(dry, x, w, bias, y);
  linear_forward(dry, x, w, {}, y);
  linear_backward_input(dry, y, w, dx);
  linear_backward_weight(dry, y, x, dw, dbias);
  Tensor no_rows = meta.allocate({0, 700}, DType::bf16);
  linear_forward(dry, meta.allocate({0, 96}, DType::bf16), w, bias, no_rows);
  // What attends on GPUs multiplies by itself.
  const AttentionShape shape{.batch = 1, .sequence = 64, .heads = 2, .kv_heads = 2, .head_dim = 16};
  const Tensor qkv = meta.allocate({64, 96}, DType::bf16);
  Tensor out = meta.allocate({64, 32}, DType::bf16), lse = meta.allocate({64, 2}, DType::fp32);
  attention_forward(dry, shape, qkv, out, lse);
  std::set<GemmKey> keys;
  for (const auto& [key, strides] : recorder->products()) keys.insert(key);
  constexpr DeviceKind kGpu = DeviceKind::cuda;
  const std::set<GemmKey> expected{{GemmForm::nt, 1000, 700, 96, DType::bf16, true, kGpu},
                                   {GemmForm::nt, 1000, 700, 96, DType::bf16, false, kGpu},
                                   {GemmForm::nn, 1000, 96, 700, DType::bf16, false, kGpu},
                                   {GemmForm::tn, 700, 96, 1000, DType::bf16, false, kGpu}};
  EXPECT_EQ(keys, expected);
}

TEST(GemmChoices, ThoseOfCpusAndGpusLieSideBySide) {
  GemmKey on_gpu = kForward, with_bias = kForward;
  on_gpu.device = with_bias.device = DeviceKind::cuda;
  with_bias.bias = true;
  GemmChoices choices;
  choices.set(kForward, "openblas");
  choices.set(on_gpu, "cublaslt:1:0");
  choices.set(with_bias, "cublaslt:1:1");
  EXPECT_EQ(GemmChoices::parse(choices.to_json()), choices);
  EXPECT_EQ(choices.table().size(), 3u);
  const GemmState state(choices);
  EXPECT_NE(state.library(kForward), nullptr);
  EXPECT_EQ(state.library(on_gpu), nullptr);
  for (const char* extra : {R"("device": "tpu")", R"("device": 1)", R"("bias": "yes")"}) {
    const std::string bad = std::string(R"({"version":1,"choices":[{"form":"nt","m":1,"n":1,"k":1,"dtype":"fp32",)") +
                            extra + R"(,"library":"blis"}]})";
    EXPECT_THROW((void)GemmChoices::parse(bad), Error) << bad;
  }
}

TEST(FollowGemmChoices, ACpuStreamFollowsThem) {
  const Stream stream = Stream::cpu(1);
  GemmChoices choices;
  choices.set(kForward, "openblas");
  follow_gemm_choices(stream, choices);
  const auto* state = dynamic_cast<GemmState*>(stream.state());
  ASSERT_NE(state, nullptr);
  EXPECT_EQ(state->choices(), choices);
}

TEST(GemmState, AMissingLibraryIsReplacedByOpenBlas) {
  GemmChoices choices;
  choices.set(kForward, "not-a-library");
  const GemmState state(choices);
  EXPECT_EQ(state.library(kForward), nullptr);
  EXPECT_EQ(state.choices(), choices);
}

TEST_F(GemmCache, IsEmptyWithoutAFileAndKeepsTheFirstAnswer) {
  const fs::path path = folder_ / "deep" / "gemm.json";
  EXPECT_EQ(load_gemm_cache(path), GemmChoices());
  GemmChoices first;
  first.set(kForward, "blis");
  EXPECT_EQ(store_gemm_cache(path, first), first);
  EXPECT_EQ(load_gemm_cache(path), first);
  GemmChoices second;
  second.set(kForward, "onednn");
  second.set(kWeights, "onednn");
  const GemmChoices merged = store_gemm_cache(path, second);
  EXPECT_EQ(*merged.find(kForward), "blis");
  EXPECT_EQ(*merged.find(kWeights), "onednn");
  EXPECT_EQ(load_gemm_cache(path), merged);
}

TEST_F(GemmCache, DamageIsIgnoredAndRepaired) {
  const fs::path path = folder_ / "gemm.json";
  std::ofstream(path) << "{\"version\": 1, \"choi";
  EXPECT_EQ(load_gemm_cache(path), GemmChoices());
  GemmChoices choices;
  choices.set(kForward, "blis");
  store_gemm_cache(path, choices);
  EXPECT_EQ(load_gemm_cache(path), choices);
}

TEST_F(GemmCache, WhatCannotBeReadOrWrittenIsNoFailure) {
  GemmChoices choices;
  choices.set(kForward, "blis");
  fs::create_directories(folder_ / "folder.json");
  EXPECT_EQ(load_gemm_cache(folder_ / "folder.json"), GemmChoices());
  EXPECT_EQ(store_gemm_cache(folder_ / "folder.json", choices), choices);
  std::ofstream(folder_ / "file") << "x";
  EXPECT_EQ(store_gemm_cache(folder_ / "file" / "gemm.json", choices), choices);
  EXPECT_EQ(store_gemm_cache("/proc/no/gemm.json", choices), choices);
  EXPECT_EQ(store_gemm_cache({}, choices), choices);
}

TEST_F(GemmCache, ManyStoringAtOnceLoseNothing) {
  const fs::path path = folder_ / "gemm.json";
  std::vector<std::thread> threads;
  for (int64_t i = 1; i <= 8; ++i) {
    threads.emplace_back([&, i] {
      GemmChoices mine;
      mine.set({GemmForm::nn, i, i, i, DType::fp32}, "blis");
      store_gemm_cache(path, mine);
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(load_gemm_cache(path).table().size(), 8u);
}

TEST_F(GemmCache, PathFollowsTheEnvironment) {
  const char* const old = getenv("XDG_CACHE_HOME");
  const std::string kept = old != nullptr ? old : "";
  setenv("XDG_CACHE_HOME", folder_.path().c_str(), 1);
  EXPECT_EQ(gemm_cache_path().parent_path(), folder_ / "trident");
  EXPECT_THAT(gemm_cache_path().filename().string(), ::testing::MatchesRegex("gemm-[0-9a-f]+[.]json"));
  EXPECT_EQ(gemm_cache_path(), gemm_cache_path());
  old != nullptr ? setenv("XDG_CACHE_HOME", kept.c_str(), 1) : unsetenv("XDG_CACHE_HOME");
}

}  // namespace
}  // namespace trident
