#include "train/config/suggest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/train/config/job_text.h"
#include "train/config/foreign_names.h"

namespace trident::config {
namespace {

struct Typo {
  std::string section, key, expected;
};

void PrintTo(const Typo& typo, std::ostream* out) { *out << typo.section << "." << typo.key; }

class TypoCorpus : public testing::TestWithParam<Typo> {};

TEST_P(TypoCorpus, LeadsToTheKeyThatWasMeant) {
  const auto& [section, key, expected] = GetParam();
  EXPECT_EQ(suggest_key(section, key).remedy, expected);
}

std::string mean(const std::string& path) { return "did you mean " + path + "?"; }

INSTANTIATE_TEST_SUITE_P(
    Typos, TypoCorpus,
    testing::Values(
        // Slips of the fingers
        Typo{"model", "hiden_size", mean("model.hidden_size")}, Typo{"model", "hidden_szie", mean("model.hidden_size")},
        Typo{"model", "hidden-size", mean("model.hidden_size")}, Typo{"model", "hiddensize", mean("model.hidden_size")},
        Typo{"model", "num_hiden_layers", mean("model.num_hidden_layers")},
        Typo{"model", "num_attention_head", mean("model.num_attention_heads")},
        Typo{"model", "num_kv_heads", "here: model.num_key_value_heads"},
        Typo{"model", "intermediate", mean("model.intermediate_size")},
        Typo{"model", "vocabsize", mean("model.vocab_size")}, Typo{"model", "vocab", mean("model.vocab_size")},
        Typo{"model", "archtecture", mean("model.architecture")},
        Typo{"model", "rope_thetha", mean("model.rope_theta")},
        Typo{"model", "tie_word_embedding", mean("model.tie_word_embeddings")},
        Typo{"model", "Preset", mean("model.preset")}, Typo{"", "optimiser", mean("optimizer")},
        Typo{"", "trainning", mean("training")}, Typo{"", "paralellism", mean("parallelism")},
        Typo{"", "parallel", mean("parallelism")}, Typo{"", "checkpoints", mean("checkpoint")},
        Typo{"", "modle", mean("model")}, Typo{"", "tokeniser", mean("tokenizer")}, Typo{"", "Device", mean("device")},
        Typo{"", "lr_scheduler", mean("lr_schedule")}, Typo{"", "log", mean("logging")},
        Typo{"data", "trian", mean("data.train")}, Typo{"data", "valid", mean("data.validation")},
        Typo{"data", "shufle", mean("data.shuffle")}, Typo{"training", "step", mean("training.steps")},
        Typo{"training", "sequence_lenght", mean("training.sequence_length")},
        Typo{"training", "globel_batch_size", mean("training.global_batch_size")},
        Typo{"training", "microbatch_size", mean("training.micro_batch_size")},
        Typo{"optimizer", "weight_decy", mean("optimizer.weight_decay")},
        Typo{"optimizer", "beta", mean("optimizer.betas")},
        Typo{"lr_schedule", "warmup", mean("lr_schedule.warmup_steps")},
        Typo{"evaluation", "interval", mean("evaluation.interval_steps")},
        Typo{"fault", "max_restart", mean("fault.max_restarts")},
        Typo{"parallelism", "zero", mean("parallelism.zero_stage")},
        Typo{"parallelism", "virtual_stage", mean("parallelism.virtual_stages")},
        // Right name, wrong section
        Typo{"training", "lr", mean("optimizer.lr")}, Typo{"", "lr", mean("optimizer.lr")},
        Typo{"", "steps", mean("training.steps")}, Typo{"", "seed", mean("run.seed")},
        Typo{"model", "sequence_length", mean("training.sequence_length")}, Typo{"", "dp", mean("parallelism.dp")},
        Typo{"training", "tp", mean("parallelism.tp")},
        Typo{"optimizer", "warmup_steps", mean("lr_schedule.warmup_steps")}, Typo{"run", "device", mean("device")},
        Typo{"training", "zero_stage", mean("parallelism.zero_stage")},
        Typo{"optimizer", "clip_grad_norm", mean("training.clip_grad_norm")},
        // Other trainers' names
        Typo{"parallelism", "tensor_model_parallel_size", "here: parallelism.tp"},
        Typo{"parallelism", "pipeline_model_parallel_size", "here: parallelism.pp"},
        Typo{"training", "micro-batch-size", mean("training.micro_batch_size")},
        Typo{"optimizer", "learning_rate", "here: optimizer.lr"},
        Typo{"training", "seq_length", "here: training.sequence_length"},
        Typo{"model", "n_layer", "here: model.num_hidden_layers"}, Typo{"model", "n_embd", "here: model.hidden_size"},
        Typo{"model", "dropout", "there is no dropout here; remove the line"},
        Typo{"parallelism", "pipeline_model_parallel_layout",
             "here: parallelism.layers_per_stage (as a list, one number a stage)"},
        Typo{"parallelism", "num_layers_per_stage", mean("parallelism.layers_per_stage")},
        Typo{"", "use-tp-pp-dp-mapping", "here: parallelism.rank_order (tp-pp-dp)"},
        Typo{"logging", "profile_step_start", "here: logging.trace_steps (as [first, last])"},
        Typo{"logging", "trace", mean("logging.trace_steps")}, Typo{"training", "train_steps", "here: training.steps"},
        Typo{"data", "val", "here: data.validation"}, Typo{"", "--train-iters", "here: training.steps"},
        Typo{"", "eval", "here: evaluation"}));

TEST(Suggest, ForeignNamesNameTheirOwnerInTheMessage) {
  EXPECT_THAT(
      config_test::errors_of(config_test::kSmallJob + "parallelism: {tensor_model_parallel_size: 2}\n"),
      testing::HasSubstr("job.yaml:4:15: tensor_model_parallel_size is Megatron-LM's name; here: parallelism.tp "
                         "[E102]"));
}

TEST(Suggest, ForeignNamesLeadToLegalPaths) {
  const auto& legal = legal_paths();
  for (const auto* key : {"flavor", "kv_channels", "max_norm", "save_interval", "async_mode", "beta1", "log_freq",
                          "partition_method", "pipeline_parallel_layers_per_stage", "enable_profiling"}) {
    const auto name = find_foreign_name(key);
    ASSERT_TRUE(name.has_value()) << key;
    EXPECT_NE(std::find(legal.begin(), legal.end(), name->here), legal.end()) << name->here;
  }
}

TEST(Suggest, FarOffKeysListWhatIsLegal) {
  EXPECT_EQ(suggest_key("precision", "quux").remedy, "keys of precision: compute, fp8, deterministic");
  EXPECT_EQ(suggest_key("run", "name:x").remedy, "put a space after the colon");
  EXPECT_THAT(suggest_key("", std::string(1000, 'x')).remedy, testing::StartsWith("top-level keys: schema, run, "));
}

TEST(EditDistance, CountsNeighbourSwapsOnce) {
  EXPECT_EQ(edit_distance("", "abc"), 3U);
  EXPECT_EQ(edit_distance("trian", "train"), 1U);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3U);
}

}  // namespace
}  // namespace trident::config
