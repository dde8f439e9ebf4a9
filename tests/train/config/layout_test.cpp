#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <regex>

#include "tests/train/config/job_text.h"
#include "train/config/microbatch_split.h"

namespace trident {
namespace {

using config_test::errors_of;
using config_test::kSmallJob;
using testing::HasSubstr;

// The small job has 4 layers, 4 heads, 2 key-value heads, an inner width of 352, 256 tokens and 16 sequences a step.

struct Case {
  std::string layout;  ///< keys of parallelism, on line 4
  std::string expected;
  std::vector<std::string> overrides = {};
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.layout << " " << testing::PrintToString(c.overrides); }

std::string with(const std::string& layout) { return kSmallJob + "parallelism: {" + layout + "}\n"; }

class LayoutProblem : public testing::TestWithParam<Case> {};

TEST_P(LayoutProblem, IsNamedWithItsPlaceAndTheNearestLegalValues) {
  EXPECT_THAT(errors_of(with(GetParam().layout), GetParam().overrides), HasSubstr(GetParam().expected));
}

INSTANTIATE_TEST_SUITE_P(
    TensorParallel, LayoutProblem,
    testing::Values(
        Case{"tp: 3", "job.yaml:4:19: num_attention_heads 4 cannot split over tp 3; nearest: tp 2 or 4 [E113]"},
        Case{
            "tp: 3",
            "job.yaml:4:19: num_key_value_heads 2 can neither split over tp 3 nor be copied evenly; nearest: tp 2 or 4 "
            "[E113]"},
        Case{"tp: 8", "num_attention_heads 4 cannot split over tp 8; nearest: tp 4 [E113]"},
        Case{"tp: 4",
             "job.yaml:4:19: intermediate_size 354 cannot split over tp 4; nearest: tp 2 [E113]",
             {"model.intermediate_size=354"}},
        Case{"tp: 4", "job.yaml:4:19: vocab_size 2 is smaller than tp 4; nearest: tp 2 [E113]", {"model.vocab_size=2"}},
        Case{
            "tp: 2",
            "job.yaml:4:19: sequence_parallel: micro_batch_size 1 · sequence_length 255 = 255 tokens cannot split over "
            "tp 2; nearest: micro_batch_size 2, or sequence_length 254 or 256, or sequence_parallel: false [E113]",
            {"training.micro_batch_size=1", "training.sequence_length=255"}},
        Case{"tp: 2",
             "over tp 2; nearest: sequence_length 254 or 256, or sequence_parallel: false",
             {"training.global_batch_size=1", "training.sequence_length=255"}},
        Case{"tp: 4",
             "fp8 needs multiples of 16: the inner columns of a rank are 88; change intermediate_size or tp, or set "
             "fp8: "
             "false [E127]",
             {"precision.compute=bf16", "precision.fp8=true"}},
        Case{"tp: 1",
             "fp8 needs microbatches of a multiple of 16 tokens, not micro_batch_size 1 · sequence_length 255 = 255; "
             "nearest: sequence_length 240 or 256, or fp8: false [E127]",
             {"precision.compute=bf16", "precision.fp8=true", "training.micro_batch_size=1",
              "training.sequence_length=255"}},
        Case{"tp: 2, dp: 16",
             "over tp 2; nearest: sequence_length 254 or 256, or sequence_parallel: false",
             {"training.sequence_length=255"}}));

INSTANTIATE_TEST_SUITE_P(
    Batch, LayoutProblem,
    testing::Values(
        Case{"dp: 17",
             "job.yaml:4:19: global_batch_size 16 leaves some of dp 17 replicas without a sequence; set dp to at most "
             "16, or global_batch_size to at least 17 [E111]"},
        Case{"dp: 4, logical_shards: 2",
             "job.yaml:4:38: dp 4 exceeds logical_shards 2; set dp to at most 2, or logical_shards: auto [E112]"},
        Case{
            "dp: 4",
            "job.yaml:4:19: 2 microbatches of micro_batch_size 8 leave some of dp 4 replicas without one; set dp to at "
            "most 2, or micro_batch_size to at most 5 [E111]",
            {"training.micro_batch_size=8"}},
        Case{"dp: 2",
             "1 microbatch of micro_batch_size 16 leaves some of dp 2 replicas without one; set dp to at most 1, or "
             "micro_batch_size to at most 15 [E111]",
             {"training.micro_batch_size=16"}},
        Case{
            "logical_shards: 8",
            "job.yaml:4:31: logical_shards 8 exceeds the 4 microbatches of a step; set logical_shards to at most 4, or "
            "micro_batch_size to at most 2 [E112]",
            {"training.micro_batch_size=4"}},
        Case{"logical_shards: 20",
             "logical_shards 20 exceeds the 16 microbatches of a step; set logical_shards to at most 16, or "
             "global_batch_size to at least 20 [E112]"}));

INSTANTIATE_TEST_SUITE_P(
    Stages, LayoutProblem,
    testing::Values(
        Case{"pp: 8",
             "job.yaml:4:19: pp 8 is more than num_hidden_layers 4; each stage has a layer; set pp to at most 4, or "
             "num_hidden_layers to at least 8 [E123]"},
        Case{"pp: 4, schedule: zb-v",
             "job.yaml:4:19: pp 4 · virtual_stages 2 = 8 stages are more than num_hidden_layers 4; each stage has a "
             "layer; set pp to at most 2, or num_hidden_layers to at least 8 [E123]"},
        Case{"pp: 2, schedule: interleaved, virtual_stages: 8",
             "= 16 stages are more than num_hidden_layers 4; each stage has a layer; set virtual_stages to at most 2, "
             "or "
             "num_hidden_layers to at least 16 [E123]"},
        Case{"pp: 2, layers_per_stage: [1, 2]",
             "job.yaml:4:40: layers per stage [1, 2] sum to 3, the model has 4; give 2 positive numbers that sum to 4 "
             "[E123]"},
        Case{"pp: 2, schedule: zb-v, layers_per_stage: [2, 2]",
             "layers per stage [2, 2] are 2 numbers for 4 stages; give 4 positive numbers that sum to 4 [E123]"}));

INSTANTIATE_TEST_SUITE_P(
    Schedules, LayoutProblem,
    testing::Values(
        Case{"pp: 2, virtual_stages: 2",
             "job.yaml:4:38: 1f1b has one stage per rank, not 2; set virtual_stages: 1, or schedule: interleaved "
             "[E122]"},
        Case{"pp: 2, schedule: zb-v, virtual_stages: 1",
             "job.yaml:4:54: zb-v has exactly two stages per rank, not 1; set virtual_stages: 2 [E122]"},
        Case{"pp: 1, schedule: zb-v, virtual_stages: 3",
             "zb-v has exactly two stages per rank, not 3; set virtual_stages: 2 [E122]"},
        Case{"pp: 2, schedule: interleaved, virtual_stages: 1",
             "interleaved has two or more stages per rank, not 1; set virtual_stages to at least 2, or schedule: 1f1b "
             "[E122]"},
        Case{"pp: 2, schedule: interleaved",
             "job.yaml:4:32: interleaved needs at least pp 2 microbatches on every dp rank, and there is 1; set pp to "
             "at "
             "most 1, or micro_batch_size to at most 15, or schedule: 1f1b [E122]",
             {"training.micro_batch_size=16"}},
        Case{"dp: 2, pp: 2, schedule: interleaved, logical_shards: 3",
             "interleaved needs at least pp 2 microbatches on every dp rank, and one rank has 1; set pp to at most 1, "
             "or "
             "micro_batch_size to at most 3, or schedule: 1f1b [E122]",
             {"training.micro_batch_size=4"}},
        Case{"pp: 4",
             "job.yaml:4:19: 4 stages and 1048576 microbatches make too long a schedule; with 4 stages up to 262144 "
             "microbatches are possible [E122]",
             {"training.global_batch_size=1048576", "training.micro_batch_size=1"}}));

TEST(Layout, ProblemsAreCollected) {
  const auto text = errors_of(with("dp: 32, tp: 3, pp: 5, schedule: zb-v, virtual_stages: 3, logical_shards: 64"));
  for (const auto* code : {"[E111]", "[E112]", "[E113]", "[E122]", "[E123]"}) EXPECT_THAT(text, HasSubstr(code));
}

TEST(Layout, UndecidedKeysAreNotChecked) {
  for (const auto* layout : {"dp: auto, logical_shards: 3", "tp: auto, sequence_parallel: true",
                             "pp: auto, schedule: interleaved", "pp: 4, schedule: interleaved, virtual_stages: auto",
                             "pp: 4, schedule: auto, virtual_stages: 1", "pp: auto, layers_per_stage: [1, 1]"}) {
    EXPECT_EQ(errors_of(with(layout)), "") << layout;
  }
  EXPECT_EQ(errors_of(with("dp: 16"), {"training.micro_batch_size=auto"}), "");
}

TEST(Layout, AScheduleBringsItsOwnVirtualStages) {
  ResolvedOrigins origins;
  const auto own = [&](const std::string& layout) {
    return parse_job(with(layout), "job.yaml", {}, &origins).parallelism.virtual_stages;
  };
  EXPECT_EQ(own("pp: 2, schedule: zb-v").value(), 2);
  EXPECT_EQ(origins.origins["parallelism.virtual_stages"], "auto (zb-v)");
  EXPECT_EQ(own("pp: 2, schedule: interleaved").value(), 2);
  EXPECT_EQ(own("pp: 2, schedule: zb-h1").value(), 1);
  EXPECT_EQ(origins.origins["parallelism.virtual_stages"], "default");
  EXPECT_TRUE(own("schedule: zb-v, virtual_stages: auto").is_auto());
}

TEST(Layout, TracingAfterTheRunWarns) {
  ResolvedOrigins origins;
  static_cast<void>(parse_job(kSmallJob + "logging: {trace_steps: [6, 7]}\n", "job.yaml", {}, &origins));
  ASSERT_EQ(origins.warnings.size(), 1U);
  EXPECT_EQ(origins.warnings[0],
            "job.yaml:4:24: trace_steps begins at step 6, after the run's last, 5; no timeline is written; lower it "
            "[W124]");
}

/// Every small batch on every small layout: `visit(batch, text)`.
template <class Visit>
void for_all_layouts(Visit visit) {
  for (const auto* schedule : {"1f1b", "interleaved"}) {
    for (int pp : {1, 2}) {
      for (int dp : {1, 2, 3, 5}) {
        for (int shards = dp; shards <= dp + 3; ++shards) {
          for (int batch : {1, 2, 3, 5, 7, 8, 9, 12, 16, 29}) {
            visit(batch,
                  with(fmt::format("dp: {}, pp: {}, schedule: {}, logical_shards: {}", dp, pp, schedule, shards)));
          }
        }
      }
    }
  }
}

TEST(Layout, TheDefaultMicroBatchRunsWhereAnyDoes) {
  for_all_layouts([](int batch, const std::string& text) {
    const auto global = fmt::format("training.global_batch_size={}", batch);
    if (errors_of(text, {global, "training.micro_batch_size=1"}).empty()) {
      EXPECT_EQ(errors_of(text, {global}), "") << text << global;
    }
  });
}

TEST(Layout, TheMicroBatchThatIsProposedIsTheLargestThatRuns) {
  int proposals = 0;
  for_all_layouts([&](int batch, const std::string& text) {
    const auto problems = [&](int size) {
      return errors_of(text, {fmt::format("training.global_batch_size={}", batch),
                              fmt::format("training.micro_batch_size={}", size)});
    };
    const auto refusal = problems(batch);
    std::smatch most;
    int size = batch;
    for (auto at = refusal.cbegin();
         std::regex_search(at, refusal.cend(), most, std::regex("micro_batch_size to at most (\\d+)"));
         at = most.suffix().first) {
      size = std::min(size, std::stoi(most[1]));
    }
    if (size == batch || refusal.find("global_batch_size to at least") != std::string::npos) return;
    ++proposals;
    EXPECT_EQ(problems(size), "") << text << refusal;
    EXPECT_NE(problems(size + 1), "") << text << refusal;
  });
  EXPECT_GT(proposals, 50);
}

TEST(MicrobatchSplit, CoversAllMicrobatchesInOrder) {
  for (int64_t microbatches = 1; microbatches <= 12; ++microbatches) {
    for (int64_t shards = 1; shards <= microbatches; ++shards) {
      for (int64_t dp = 1; dp <= shards; ++dp) {
        const MicrobatchSplit split{microbatches, shards, dp};
        int64_t next = 0, last = microbatches;
        for (int rank = 0; rank < dp; ++rank) {
          const ShardRange own = split.of_rank(rank);
          EXPECT_EQ(own.begin, next);
          EXPECT_GE(own.count, 1);
          EXPECT_LE(own.count, last) << "earlier ranks have as many or more";
          next += own.count;
          last = own.count;
        }
        EXPECT_EQ(next, microbatches);
        EXPECT_EQ(split.fewest(), last);
      }
    }
  }
}

}  // namespace
}  // namespace trident
