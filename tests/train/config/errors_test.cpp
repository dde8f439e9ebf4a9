#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/train/config/job_text.h"

namespace trident {
namespace {

using config_test::errors_of;
using config_test::kFullJob;
using config_test::kSmallJob;
using testing::HasSubstr;
using testing::StartsWith;

struct Case {
  std::string text;  ///< appended to the small job, so its first line is line 4
  std::string expected;
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.text; }

class ConfigProblem : public testing::TestWithParam<Case> {};

TEST_P(ConfigProblem, IsNamedWithItsPlace) {
  EXPECT_THAT(errors_of(kSmallJob + GetParam().text), HasSubstr(GetParam().expected));
}

INSTANTIATE_TEST_SUITE_P(
    Text, ConfigProblem,
    testing::Values(Case{"run: {name: a\n", "[E100]"},  //
                    Case{"run:\n\tname: a\n", "job.yaml:5:1: a tab indents this line; indent with spaces [E100]"},
                    Case{"run: {name: \xff}\n", "job.yaml:4:13: byte 0xff is not UTF-8; save the file as UTF-8 [E100]"},
                    Case{"run: {name: \xc0\x80}\n", "job.yaml:4:13: byte 0xc0 is not UTF-8"},
                    Case{std::string("run: {name: a\0b}\n", 17), "job.yaml:4:14: control character 0x00 in the text"},
                    Case{"run: {name: a}\nrun: {name: b}\n",
                         "job.yaml:5:1: run given twice, first at 4:1; keep one of them [E103]"},
                    Case{"optimizer: {lr: 1, lr: 2}\n", "job.yaml:4:20: lr given twice, first at 4:13"},
                    Case{"run: &x {name: a}\n", "anchors (&name) are not read in a job file; remove the anchor [E104]"},
                    Case{"run: {name: &x a}\noptimizer: {name: *x}\n", "job.yaml:5:19: aliases (*name) are not read"},
                    Case{"run: {<<: {name: a}}\n",
                         "job.yaml:4:7: merges (<<) are not read in a job file; write the keys out [E104]"},
                    Case{"run: !!map {name: a}\n", "tag tag:yaml.org,2002:map is not read in a job file"},
                    Case{"---\nrun: {name: a}\n",
                         "a second document starts here; one file holds one job; remove it [E104]"},
                    Case{"run: {[a]: b}\n", "a key must be a name"},
                    Case{"run: " + std::string(40, '[') + std::string(40, ']'), "nested more than 16 levels deep"},
                    Case{"# " + std::string(300000, 'x'), "job.yaml:1:1: 300"}));

INSTANTIATE_TEST_SUITE_P(
    Types, ConfigProblem,
    testing::Values(
        Case{"parallelism: {dp: two}\n",
             "job.yaml:4:19: parallelism.dp: `two` is not an integer; write an integer, e.g. dp: 2 [E105]"},
        Case{"parallelism: {dp: 010}\n", "`010` has a leading zero; YAML 1.1 reads it as octal"},
        Case{"parallelism: {dp: 1_000}\n", "`1_000` has an underscore; write the digits together"},
        Case{"parallelism: {dp: 0x10}\n", "`0x10` is not decimal"},
        Case{"parallelism: {dp: 1.5}\n", "`1.5` is not an integer"},
        Case{"parallelism: {dp: 99999999999999999999}\n", "does not fit in 64 bits"},
        Case{"parallelism: {dp: \"2\"}\n",
             "parallelism.dp is quoted text, expected an integer; remove the quotes, e.g. dp: 2"},
        Case{"parallelism: {dp: [2]}\n", "job.yaml:4:19: parallelism.dp is a list, expected an integer; e.g. dp: 2"},
        Case{"parallelism: {dp: }\n", "parallelism.dp has no value; write dp: 2, or remove the key"},
        Case{"checkpoint: {async: on}\n",
             "job.yaml:4:21: checkpoint.async: `on` is not a boolean; write true or false, e.g. async: true [E105]"},
        Case{"checkpoint: {async: yes}\n", "`yes` is not a boolean"},
        Case{"checkpoint: {async: True}\n", "`True` is not a boolean"},
        Case{"checkpoint: {interval: 30}\n",
             "`30` has no unit; add ms, s, m, h or d; write a duration, e.g. interval: 30m"},
        Case{"checkpoint: {interval: soon}\n", "`soon` is not a duration"},
        Case{"optimizer: {lr: .inf}\n", "`.inf` is not finite"}, Case{"optimizer: {lr: nan}\n", "`nan` is not finite"},
        Case{"optimizer: {lr: 1e999}\n", "does not fit in a double"},
        Case{"optimizer: {lr: 1.0.0}\n", "`1.0.0` is not a number"},
        Case{"optimizer: {betas: 0.9}\n",
             "optimizer.betas is one value, expected a list of two numbers; e.g. betas: [0.9, 0.95]"},
        Case{"optimizer: {betas: [0.9]}\n", "optimizer.betas: 1 numbers given; write two numbers"},
        Case{"optimizer: fast\n",
             "job.yaml:4:12: optimizer is one value, expected a mapping of keys; e.g. optimizer: {lr: 1.0e-3}"},
        Case{"optimizer:\n", "optimizer has no keys"},
        Case{"run: {name: [a]}\n", "run.name is a list, expected text; e.g. name: smoke"},
        Case{"run: {name: \"a\\0b\"}\n", "holds a NUL character"}));

INSTANTIATE_TEST_SUITE_P(
    Ranges, ConfigProblem,
    testing::Values(
        Case{"optimizer: {lr: 0}\n", "job.yaml:4:17: optimizer.lr is 0, must be above 0; e.g. lr: 1.0e-3 [E106]"},
        Case{"optimizer: {lr: -1e-3}\n", "optimizer.lr is -1e-3, must be above 0"},
        Case{"optimizer: {betas: [0.9, 1.0]}\n",
             "job.yaml:4:26: optimizer.betas is 1.0, must be at least 0 and below 1"},
        Case{"optimizer: {eps: 0}\n", "optimizer.eps is 0, must be above 0"},
        Case{"parallelism: {tp: 0}\n", "parallelism.tp is 0, must be at least 1"},
        Case{"parallelism: {zero_stage: 2}\n",
             "job.yaml:4:27: parallelism.zero_stage is 2, must be at least 0 and at most 1; e.g. zero_stage: 1 [E106]"},
        Case{"parallelism: {rank_order: tp-dp}\n",
             "job.yaml:4:27: parallelism.rank_order cannot be `tp-dp`; did you mean tp-dp-pp? one of tp-dp-pp, "
             "tp-pp-dp, dp-tp-pp, dp-pp-tp, pp-tp-dp, pp-dp-tp [E107]"},
        Case{"parallelism: {layers_per_stage: 4}\n",
             "job.yaml:4:33: parallelism.layers_per_stage is one value, expected a list of integers; e.g. "
             "layers_per_stage: [2, 2] [E105]"},
        Case{"parallelism: {layers_per_stage: []}\n", "parallelism.layers_per_stage: the list is empty"},
        Case{"parallelism: {pp: 2, layers_per_stage: [4, 0]}\n",
             "job.yaml:4:44: parallelism.layers_per_stage is 0, must be at least 1 and at most 10000"},
        Case{"logging: {trace_steps: 3}\n",
             "job.yaml:4:24: logging.trace_steps is one value, expected a list of two integers; e.g. trace_steps: "
             "[10, 12] [E105]"},
        Case{"logging: {trace_steps: [3]}\n", "logging.trace_steps: 1 integers given; write two integers"},
        Case{"logging: {trace_steps: [0, 3]}\n", "job.yaml:4:25: logging.trace_steps is 0, must be at least 1"},
        Case{"logging: {trace_steps: [5, 3]}\n",
             "job.yaml:4:24: trace_steps [5, 3] ends before it begins; write [3, 5] [E124]"},
        Case{"schema: 2\n", "job.yaml:4:9: schema is 2"},
        Case{"optimizer: {name: adam}\n",
             "job.yaml:4:19: optimizer.name cannot be `adam`; did you mean adamw? one of adamw [E107]"},
        Case{"parallelism: {schedule: 1f1}\n", "did you mean 1f1b? one of gpipe, 1f1b, interleaved, zb-h1, zb-v"},
        Case{"precision: {compute: bf61}\n", "cannot be `bf61`; did you mean bf16? one of fp64, fp32, bf16"},
        Case{"run: {name: a/b}\n",
             "job.yaml:4:13: run.name cannot be a folder's name; use letters, digits, - and _ [E119]"},
        Case{"tokenizer: {kind: huggingface}\n", "tokenizer.path is missing for kind huggingface"},
        Case{"precision: {fp8: true}\n",
             "job.yaml:4:18: fp8 products stand beside bf16, not beside compute fp32; set compute: bf16, or fp8: false "
             "[E127]"},
        Case{"device: cpu\nprecision: {compute: bf16, fp8: true}\n",
             "job.yaml:5:33: fp8 products run on GPUs only; set device: cuda, or fp8: false [E127]"},
        Case{"fault: {heartbeat: 5s, node_timeout: 3s}\n", "job.yaml:4:38: node_timeout must be longer than heartbeat"},
        Case{"lr_schedule: {min_lr: 0.1}\n", "job.yaml:4:23: min_lr 0.1 is above optimizer.lr 0.0003;"}));

struct OverrideCase {
  std::string argument;
  std::string expected;
};

void PrintTo(const OverrideCase& c, std::ostream* out) { *out << c.argument; }

class OverrideProblem : public testing::TestWithParam<OverrideCase> {};

TEST_P(OverrideProblem, IsNamedWithItsArgument) {
  EXPECT_THAT(errors_of(kFullJob, {"run.seed=1", GetParam().argument}), HasSubstr(GetParam().expected));
}

INSTANTIATE_TEST_SUITE_P(
    Arguments, OverrideProblem,
    testing::Values(
        OverrideCase{"optimizer.lr",
                     "command line argument 2:1:1: `optimizer.lr` is not dotted.key=value; write e.g. "
                     "optimizer.lr=1.0e-3 [E110]"},
        OverrideCase{"=3", "is not dotted.key=value"}, OverrideCase{"a..b=3", "is not dotted.key=value"},
        OverrideCase{"optimizer.lr=fast", "command line argument 2:1:14: optimizer.lr: `fast` is not a number"},
        OverrideCase{"optimizer.lr=", "optimizer.lr has no value"},
        OverrideCase{"training.lr=1",
                     "command line argument 2:1:10: unknown key training.lr; did you mean optimizer.lr? [E101]\n"
                     "    training.lr=1\n             ^"},
        OverrideCase{"checkpoint.intervall_steps=3", "did you mean checkpoint.interval_steps? [E101]"},
        OverrideCase{"checkpoint.keep_last=2", "did you mean checkpoint.keep? [E101]"},
        OverrideCase{"optimizer.betas=[0.9", "command line argument 2:1:"},
        OverrideCase{"model.preset=llama-8b", "model.preset cannot be `llama-8b`; did you mean llama-7b?"},
        OverrideCase{"model.hidden_size=130",
                     "hidden_size 130 is not divisible by num_attention_heads 4; nearest: "
                     "num_attention_heads 2 or 5, or hidden_size 128 or 132 [E114]"},
        OverrideCase{"model.num_key_value_heads=3",
                     "num_attention_heads 4 is not divisible by num_key_value_heads 3; nearest: "
                     "num_key_value_heads 2 or 4"},
        OverrideCase{
            "training.sequence_length=512",
            "command line argument 2:1:26: sequence_length 512 is longer than max_position_embeddings 256; set "
            "sequence_length to at most 256, or max_position_embeddings: 512 [E115]"},
        OverrideCase{"training={steps: 5, tokens: 1M}", "training.steps and training.tokens are both given; keep one"},
        OverrideCase{"training.micro_batch_size=32", "micro_batch_size 32 is larger than global_batch_size 16"},
        OverrideCase{"model.architecture=gpt2", "gpt2 has no grouped queries"}));

TEST(ConfigErrors, AllAreCollectedInOrderWithCarets) {
  const auto text = errors_of(
      "model: {preset: llama-tiny}\n"
      "optimiser: {lr: 1}\n"
      "training: {steps: many}\n"
      "parallelism: {dp: 0}\n");
  EXPECT_EQ(text,
            "job.yaml:1:1: data is missing; write e.g. data: {train: data/kjv} [E108]\n"
            "    model: {preset: llama-tiny}\n"
            "    ^\n"
            "job.yaml:2:1: unknown key optimiser; did you mean optimizer? [E101]\n"
            "    optimiser: {lr: 1}\n"
            "    ^\n"
            "job.yaml:3:19: training.steps: `many` is not an integer; write an integer or a number like 1.5M or 100B, "
            "e.g. steps: 500 [E105]\n"
            "    training: {steps: many}\n"
            "                      ^\n"
            "job.yaml:4:19: parallelism.dp is 0, must be at least 1 and at most 1.04858e+06; e.g. dp: 2 [E106]\n"
            "    parallelism: {dp: 0}\n"
            "                      ^");
}

TEST(ConfigErrors, ColumnsCountCharacters) {
  EXPECT_THAT(errors_of(kSmallJob + "run: {name: \"é\", sead: 1}\n"), HasSubstr("job.yaml:4:18: unknown key run.sead"));
}

TEST(ConfigErrors, EmptyFileSaysWhatIsNeeded) {
  const auto text = errors_of("");
  EXPECT_THAT(text, HasSubstr("model is missing; write e.g. model: {preset: llama-tiny}"));
  EXPECT_THAT(text, HasSubstr("data is missing"));
  EXPECT_THAT(text, HasSubstr("training.steps is missing"));
  EXPECT_THAT(errors_of("- a\n"), StartsWith("job.yaml:1:1: a job file is a mapping of keys"));
}

TEST(ConfigErrors, MissingModelKeysAreEachNamed) {
  const auto text = errors_of("model: {architecture: llama}\ndata: {train: a}\ntraining: {steps: 1}\n");
  for (const auto* key : {"hidden_size", "num_hidden_layers", "num_attention_heads"}) {
    EXPECT_THAT(text, HasSubstr("job.yaml:1:8: model." + std::string(key) + " is missing; write e.g. "));
  }
  EXPECT_THAT(errors_of("model: {preset: llama-tiny, architecture: gpt2}\ndata: {train: a}\ntraining: {steps: 1}\n"),
              HasSubstr("job.yaml:1:43: architecture gpt2 contradicts preset llama-tiny"));
}

TEST(ConfigErrors, ListsOfDataAreReadStrictly) {
  const auto data = [](const std::string& value) {
    return errors_of("model: {preset: llama-tiny}\ntraining: {steps: 1}\ndata: {train: " + value + "}\n");
  };
  EXPECT_THAT(data("[{path: a, wieght: 2}]"),
              HasSubstr("job.yaml:3:26: unknown key data.train[0].wieght; keys here: path, weight"));
  EXPECT_THAT(data("[a, {weight: 2}]"), HasSubstr("data.train[1].path is missing"));
  EXPECT_THAT(data("[{path: a, weight: 0}]"), HasSubstr("job.yaml:3:34: data.train[0].weight is 0, must be above 0"));
  EXPECT_THAT(data("[]"), HasSubstr("the list is empty"));
}

TEST(ConfigErrors, TokensWithoutAnyLengthAreNoDivisionByZero) {
  EXPECT_THAT(errors_of("model: 1\ndata: {train: a}\ntraining: {tokens: 1M}\n"), HasSubstr("model is one value"));
}

TEST(ConfigErrors, AliasBombsCostNothing) {
  std::string bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 40; ++i) {
    bomb += fmt::format("a{0}: &a{0} [*a{1}, *a{1}, *a{1}]\n", i, i - 1);
  }
  const auto text = errors_of(bomb);
  EXPECT_THAT(text, HasSubstr("aliases (*name) are not read"));
  EXPECT_LT(text.size(), 100000U);
}

}  // namespace
}  // namespace trident
