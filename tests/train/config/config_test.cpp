#include "train/config/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <random>

#include "tests/train/config/job_text.h"
#include "train/config/presets.h"

namespace trident {
namespace {

using config_test::kFullJob;
using config_test::kSmallJob;
using testing::HasSubstr;

JobConfig parse(const std::string& text, const std::vector<std::string>& overrides = {}) {
  return parse_job(text, "job.yaml", overrides);
}

TEST(Config, FullExampleHasEveryValue) {
  const auto job = parse(kFullJob);
  EXPECT_EQ(job.run.name, "smoke");
  EXPECT_EQ(job.model.hidden_size, 128);
  EXPECT_EQ(job.model.head_dim, 32);
  EXPECT_EQ(job.model.norm_eps, 1e-5);
  EXPECT_EQ(job.data.train, (std::vector<config::DataSource>{{"data/kjv", 1.0}}));
  EXPECT_EQ(job.data.validation, "data/kjv-val");
  EXPECT_EQ(job.parallelism.dp.value(), 2);
  EXPECT_EQ(job.parallelism.schedule.value(), config::PipelineSchedule::one_f_one_b);
  EXPECT_TRUE(job.parallelism.logical_shards.is_auto());
  EXPECT_EQ(job.parallelism.layers_per_stage, (std::vector<int64_t>{2, 2}));
  EXPECT_EQ(job.parallelism.rank_order, kDefaultMeshOrder);
  EXPECT_EQ(job.logging.trace_steps, (std::array<int64_t, 2>{10, 12}));
  EXPECT_EQ(job.training.total_steps(), 500);
  EXPECT_EQ(job.training.stop_after, 200);
  EXPECT_EQ(job.optimizer.betas[1], 0.95);
  EXPECT_EQ(job.fault.heartbeat.value, 0.25);
  EXPECT_TRUE(job.fault.hang_timeout.is_auto());
}

TEST(Config, SmallExampleOfEightLinesWorks) {
  const auto job = parse(R"(schema: 1
model: {preset: llama-tiny}
data: {train: builtin:shakespeare}
parallelism: {dp: 2, pp: 2}
training: {sequence_length: 64, global_batch_size: 12, micro_batch_size: 3, steps: 2000}
device: cpu
)");
  EXPECT_EQ(job.run.name, "job");
  EXPECT_EQ(job.data.train[0].path, "builtin:shakespeare");
  EXPECT_EQ(job.model.num_key_value_heads, 2);
}

TEST(Config, DataIsAPrefixAListOrAMixture) {
  const auto train = [](const std::string& value) {
    return parse("model: {preset: llama-tiny}\ntraining: {steps: 1}\ndata: {train: " + value + "}\n").data.train;
  };
  EXPECT_EQ(train("a"), (std::vector<config::DataSource>{{"a", 1}}));
  EXPECT_EQ(train("[a, b]"), (std::vector<config::DataSource>{{"a", 1}, {"b", 1}}));
  EXPECT_EQ(train("[a, {path: b, weight: .5}]"), (std::vector<config::DataSource>{{"a", 1}, {"b", 0.5}}));
}

TEST(Config, TokensBecomeStepsRoundedUp) {
  const auto job = parse(
      "model: {preset: llama-tiny}\ndata: {train: a}\n"
      "training: {sequence_length: 100, global_batch_size: 10, tokens: 1.5M}\n");
  EXPECT_EQ(job.training.tokens, 1500000);
  EXPECT_EQ(job.training.total_steps(), 1500);
  EXPECT_EQ(parse(kSmallJob, {"training.tokens=4097"}).training.total_steps(), 2);  // 16 sequences of 256 each
}

TEST(Config, ParallelismAutoLeavesEverythingToThePlanner) {
  const auto job = parse(kSmallJob + "parallelism: auto\n", {"parallelism.tp=2"});
  EXPECT_TRUE(job.parallelism.dp.is_auto());
  EXPECT_EQ(job.parallelism.tp.value(), 2);
  EXPECT_TRUE(job.training.micro_batch_size.is_auto());
  EXPECT_EQ(job.parallelism.reduction, config::Reduction::exact);
}

TEST(Config, FamiliesHaveTheirOwnDefaults) {
  const std::string rest =
      "hidden_size: 48, num_hidden_layers: 2, num_attention_heads: 4}\n"
      "data: {train: a}\ntraining: {steps: 1, sequence_length: 32}\n";
  const auto gpt2 = parse("model: {architecture: gpt2, layer_norm_eps: 1e-6, " + rest).model;
  EXPECT_EQ(gpt2.intermediate_size, 192);
  EXPECT_TRUE(gpt2.tie_word_embeddings);
  EXPECT_EQ(gpt2.norm_eps, 1e-6);
  EXPECT_EQ(gpt2.max_position_embeddings, 32);
  EXPECT_EQ(gpt2.vocab_size, 256);
  const auto llama = parse("model: {" + rest).model;
  EXPECT_EQ(llama.intermediate_size, 128);
  EXPECT_FALSE(llama.tie_word_embeddings);
}

TEST(Config, PresetsGiveWayToExplicitKeys) {
  for (const auto& name : config::preset_names()) {
    const auto job = parse("model: {preset: " + name + "}\ndata: {train: a}\ntraining: {steps: 1}\n");
    EXPECT_EQ(job.model.hidden_size % job.model.num_attention_heads, 0) << name;
    EXPECT_EQ(parse(to_yaml(job)), parse_job(to_yaml(job), "x")) << name;
  }
  const auto wide = parse(kSmallJob, {"model.preset=gpt2-124m", "model.hidden_size=96", "model.num_attention_heads=6"});
  EXPECT_EQ(wide.model.vocab_size, 50257);
  EXPECT_EQ(wide.model.head_dim, 16);
  EXPECT_EQ(wide.model.intermediate_size, 384);
  EXPECT_EQ(wide.model.num_key_value_heads, 6);
}

TEST(Config, LaterOverridesWinAndReplaceTheFile) {
  const auto job = parse(kFullJob, {"optimizer.lr=2e-3", "optimizer.lr=3e-3", "training.tokens=1M",
                                    "optimizer={betas: [0.8, 0.9]}", "data.train=[x, y]", "run.name=a b"});
  EXPECT_EQ(job.optimizer.lr, 3e-3);
  EXPECT_EQ(job.optimizer.betas[0], 0.8);
  EXPECT_EQ(job.optimizer.eps, 1e-8);
  EXPECT_FALSE(job.training.steps.has_value());
  EXPECT_EQ(job.data.train.size(), 2U);
  EXPECT_EQ(job.run.name, "a b");
}

TEST(Config, ZeroStepsWithWarmUpIsAJob) { EXPECT_EQ(parse(kFullJob, {"training.steps=0"}).training.total_steps(), 0); }

TEST(Config, WarmUpLongerThanTheRunWarns) {
  ResolvedOrigins origins;
  const std::vector<std::string> overrides = {"training.steps=10"};
  static_cast<void>(parse_job(kFullJob, "job.yaml", overrides, &origins));
  ASSERT_EQ(origins.warnings.size(), 1U);
  EXPECT_THAT(origins.warnings[0], HasSubstr("job.yaml:42:43: warm-up of 50 steps is longer than the run of 10"));
}

TEST(Config, OriginsNameFileArgumentPresetDefaultAndReason) {
  ResolvedOrigins origins;
  const std::vector<std::string> overrides = {"optimizer.lr=1e-3", "parallelism.dp=2"};
  const auto job = parse_job(kSmallJob, "job.yaml", overrides, &origins);
  EXPECT_EQ(origins.origins["training.steps"], "job.yaml:3");
  EXPECT_EQ(origins.origins["parallelism.dp"], "command line argument 2");
  EXPECT_EQ(origins.origins["model.vocab_size"], "preset llama-tiny");
  EXPECT_EQ(origins.origins["optimizer.eps"], "default");
  EXPECT_EQ(origins.origins["model.head_dim"], "auto (hidden_size / num_attention_heads)");
  const auto text = to_yaml_with_origins(job, origins);
  EXPECT_THAT(text, HasSubstr("  lr: 0.001                                  # command line argument 1\n"));
  EXPECT_EQ(parse(text), parse(to_yaml(job)));
}

TEST(Config, WrittenFloatsAreFloatsToPyYamlToo) {
  const auto text = to_yaml(parse(kSmallJob, {"optimizer.eps=1e-8", "model.rope_theta=1e22"}));
  EXPECT_THAT(text, HasSubstr("eps: 1.0e-08"));
  EXPECT_THAT(text, HasSubstr("rope_theta: 1.0e+22"));
}

/// Random values for many keys, hostile names among them.
std::vector<std::string> random_overrides(std::mt19937& random) {
  const auto pick = [&](std::vector<std::string> from) { return from[random() % from.size()]; };
  const auto number = std::to_string(1 + random() % 100000);
  return {
      "run.name=" + pick({"a", "'true'", "'010'", "\"x\\\"y\"", "\"caf\\u00e9 \\u2028\"", "'a: b #c'", "'-1'", "'~'"}),
      "run.seed=" + number,
      "optimizer.lr=" + number + "e-" + std::to_string(4 + random() % 20),
      "lr_schedule.name=" + pick({"constant", "linear", "cosine", "wsd"}),
      "checkpoint.resume=" +
          pick({"auto", "never", "300", "'300'", "'auto'", "runs/a/checkpoints/latest", "1e5", "-x"}),
      "checkpoint.interval=" + number + pick({"ms", "s", "m", "h", "d"}),
      "fault.hang_timeout=" + pick({"auto", "0.1s", "1.7m"}),
      "parallelism=" + pick({"auto", "{dp: auto}", "{tp: 2, sequence_parallel: auto}", "{logical_shards: 16}",
                             "{pp: 2, schedule: interleaved, layers_per_stage: [1, 1, 1, 1]}",
                             "{pp: 2, schedule: zb-v, rank_order: pp-dp-tp}", "{layers_per_stage: auto}"}),
      "logging.trace_steps=" + pick({"[1, 1]", "[3, 4000]"}),
      "training.recompute=" + pick({"auto", "full", "selective"}),
      "training.threads=" + pick({"auto", "3"}),
      "logging.sample_prompt=" + pick({"\"line\\nline\\ttab\"", "'null'", "plain text", "'[a'", "\"\\x85\\e\""}),
      "data.train=" + pick({"a", "[a, './b']", "[{path: 'c d', weight: 0.1}, .hidden]", "1234", "'no'"}),
      "model.rms_norm_eps=" + number + "e-9"};
}

TEST(Config, WrittenJobsReadBackEqual) {
  std::mt19937 random(7);
  for (int round = 0; round < 300; ++round) {
    const auto overrides = random_overrides(random);
    JobConfig job;
    ASSERT_NO_THROW(job = parse(kSmallJob, overrides)) << testing::PrintToString(overrides);
    ASSERT_EQ(parse_job(to_yaml(job), "another.yaml"), job) << to_yaml(job);
  }
}

TEST(Config, ReadyJobsAreComplete) {
  for (const std::string name :
       {"smoke", "quickstart", "gpt2-124m", "gpt2-124m-8", "llama-7b-64", "nanogpt-shakespeare-char"}) {
    const auto job = load_job(TRIDENT_SOURCE_DIR "/configs/" + name + ".yaml");
    EXPECT_EQ(job.run.name, name);
    EXPECT_EQ(parse(to_yaml(job)), job);
  }
}

TEST(Config, MissingFileIsMissingInput) {
  try {
    static_cast<void>(load_job("/nowhere/job.yaml"));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::input_missing);
    EXPECT_THAT(error.what(), HasSubstr("/nowhere/job.yaml"));
  }
  EXPECT_THROW(static_cast<void>(load_job("/tmp")), Error);
}

TEST(Config, SchemaKnowsEverySectionAndClosesEveryBracket) {
  const auto schema = json_schema();
  for (const auto* key :
       {"\"hidden_size\"", "\"pp-dp-tp\"", "\"layer_norm_eps\"", "\"zb-v\"", "\"llama-3.1-405b\"", "\"heartbeat\""}) {
    EXPECT_THAT(schema, HasSubstr(key));
  }
  EXPECT_EQ(std::count(schema.begin(), schema.end(), '{'), std::count(schema.begin(), schema.end(), '}'));
  EXPECT_EQ(std::count(schema.begin(), schema.end(), '['), std::count(schema.begin(), schema.end(), ']'));
}

TEST(Config, KeyTableHasEveryKeyThatAJobCanGive) {
  const auto table = key_table();
  ResolvedOrigins origins;
  const auto job = parse_job(kFullJob, "job.yaml", {}, &origins);
  EXPECT_GT(origins.origins.size(), 50U);
  for (const auto& [path, origin] : origins.origins) {
    if (path.find('[') != std::string::npos) continue;
    EXPECT_THAT(table, HasSubstr("| `" + path + "` |"));
  }
  EXPECT_THAT(table, HasSubstr("| `optimizer.betas` | `[0.9, 0.95]` | two numbers, each 0 to below 1 |"));
  EXPECT_THAT(table, HasSubstr("| `parallelism.layers_per_stage` | see there | list of integers, each 1 to 10000 |"));
  EXPECT_THAT(table, HasSubstr("| `parallelism.rank_order` | `tp-dp-pp` | `tp-dp-pp`, `tp-pp-dp`, "));
  EXPECT_THAT(table, HasSubstr("| `logging.trace_steps` | none | two integers, each 1 to 1e+15 |"));
  EXPECT_THAT(table, HasSubstr("| `model.hidden_size` | must be given |"));
}

}  // namespace
}  // namespace trident
