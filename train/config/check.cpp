#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <string_view>
#include <vector>

#include "train/config/complete.h"
#include "train/config/job_config.h"
#include "train/config/keys.h"

namespace trident::config {
namespace {

/// Divisors of `number` nearest to `wanted`, below and above: "2 or 4".
std::string nearest_divisors(int64_t number, int64_t wanted) {
  int64_t below = 0;
  int64_t above = 0;
  for (int64_t d = 1; d <= number; ++d) {
    if (number % d != 0) continue;
    if (d < wanted) below = d;
    if (d > wanted && above == 0) above = d;
  }
  if (below == 0 || above == 0) return std::to_string(std::max(below, above));
  return fmt::format("{} or {}", below, above);
}

std::string nearest_multiples(int64_t unit, int64_t wanted) {
  const int64_t below = wanted / unit * unit;
  return below == 0 ? std::to_string(unit) : fmt::format("{} or {}", below, below + unit);
}

class Checks {
 public:
  Checks(const JobConfig& job, Reading& reading) : job_(job), reading_(reading) {}

  void run() {
    names();
    family();
    heads();
    tensor_parallel();
    lengths();
    batch();
    duration();
    learning_rate();
    tokenizer();
    if (job_.fault.node_timeout.value <= job_.fault.heartbeat.value) {
      error({"fault.node_timeout", "fault.heartbeat"}, "E121", "node_timeout must be longer than heartbeat",
            "make it at least four heartbeats");
    }
  }

 private:
  using Paths = std::initializer_list<std::string_view>;

  /// Reports at the first given of `paths`, unless one of them has no usable value anyway.
  void error(Paths paths, std::string code, std::string problem, std::string remedy) {
    if (!reading_.usable(paths)) return;
    reading_.diagnostics.add(reading_.place_of(paths), std::move(code), std::move(problem), std::move(remedy));
  }
  void warn(Paths paths, std::string code, std::string problem, std::string remedy) {
    if (!reading_.usable(paths)) return;
    reading_.diagnostics.warn(reading_.place_of(paths), std::move(code), std::move(problem), std::move(remedy));
  }

  void names() {
    const auto& name = job_.run.name;
    const bool safe = name != "." && name != ".." && name.find('/') == std::string::npos && name.size() <= 128 &&
                      std::none_of(name.begin(), name.end(), [](unsigned char c) { return c < ' ' || c == 0x7F; });
    if (!safe) error({"run.name"}, "E119", "run.name cannot be a folder's name", "use letters, digits, - and _");
  }

  void family() {
    const auto& m = job_.model;
    if (reading_.preset && reading_.is_given("model.architecture")) {
      const auto preset = reading_.preset->starts_with("gpt2") ? Architecture::gpt2 : Architecture::llama;
      if (preset != m.architecture) {
        error({"model.architecture", "model.preset"}, "E118",
              fmt::format("architecture {} contradicts preset {}", name_of(m.architecture), *reading_.preset),
              "remove one of the two");
      }
    }
    if (m.architecture != Architecture::gpt2) return;
    if (m.num_key_value_heads != m.num_attention_heads) {
      error({"model.num_key_value_heads", "model.num_attention_heads", "model.architecture"}, "E118",
            fmt::format("gpt2 has no grouped queries: num_key_value_heads {} differs from num_attention_heads {}",
                        m.num_key_value_heads, m.num_attention_heads),
            fmt::format("remove num_key_value_heads or set {}", m.num_attention_heads));
    }
    if (m.head_dim * m.num_attention_heads != m.hidden_size) {
      error({"model.head_dim", "model.hidden_size", "model.num_attention_heads", "model.architecture"}, "E118",
            "gpt2's heads fill hidden_size exactly", "remove head_dim");
    }
  }

  void heads() {
    const auto& m = job_.model;
    if (!reading_.usable({"model.hidden_size", "model.num_attention_heads", "model.num_key_value_heads"})) return;
    if (!reading_.is_given("model.head_dim") && m.hidden_size % m.num_attention_heads != 0) {
      error({"model.num_attention_heads", "model.hidden_size"}, "E114",
            fmt::format("hidden_size {} is not divisible by num_attention_heads {}", m.hidden_size,
                        m.num_attention_heads),
            fmt::format("nearest: num_attention_heads {}, or hidden_size {}",
                        nearest_divisors(m.hidden_size, m.num_attention_heads),
                        nearest_multiples(m.num_attention_heads, m.hidden_size)));
    } else if (m.architecture == Architecture::llama && m.head_dim % 2 != 0) {
      error({"model.head_dim", "model.num_attention_heads", "model.hidden_size"}, "E114",
            fmt::format("head_dim {} is odd; rotary embedding turns pairs", m.head_dim),
            "choose an even head_dim (hidden_size / num_attention_heads)");
    }
    if (m.num_attention_heads % m.num_key_value_heads != 0) {
      error({"model.num_key_value_heads", "model.num_attention_heads"}, "E114",
            fmt::format("num_attention_heads {} is not divisible by num_key_value_heads {}", m.num_attention_heads,
                        m.num_key_value_heads),
            fmt::format("nearest: num_key_value_heads {}",
                        nearest_divisors(m.num_attention_heads, m.num_key_value_heads)));
    }
  }

  /// Query heads are cut over tp; key-value heads are cut, or copied where tp exceeds them.
  void tensor_parallel() {
    const auto& m = job_.model;
    const auto tp = job_.parallelism.tp.value_or(1);
    if (!reading_.usable({"model.num_attention_heads", "model.num_key_value_heads", "parallelism.tp"})) return;
    if (m.num_attention_heads % tp != 0) {
      error({"parallelism.tp"}, "E113",
            fmt::format("num_attention_heads {} cannot split over tp {}", m.num_attention_heads, tp),
            fmt::format("nearest: tp {}", nearest_divisors(m.num_attention_heads, tp)));
    } else if (m.num_key_value_heads % tp != 0 && tp % m.num_key_value_heads != 0) {
      error({"parallelism.tp"}, "E113",
            fmt::format("num_key_value_heads {} can neither split over tp {} nor be copied evenly",
                        m.num_key_value_heads, tp),
            fmt::format("nearest: tp {}", nearest_divisors(m.num_key_value_heads, tp)));
    }
  }

  void lengths() {
    const auto length = job_.training.sequence_length;
    const auto positions = job_.model.max_position_embeddings;
    if (length > positions) {
      error({"training.sequence_length", "model.max_position_embeddings"}, "E115",
            fmt::format("sequence_length {} is longer than max_position_embeddings {}", length, positions),
            fmt::format("set sequence_length to at most {}, or max_position_embeddings: {}", positions, length));
    }
  }

  void batch() {
    const auto& t = job_.training;
    const auto dp = job_.parallelism.dp.value_or(1);
    if (t.global_batch_size < dp) {
      error(
          {"parallelism.dp", "training.global_batch_size"}, "E111",
          fmt::format("global_batch_size {} leaves some of dp {} replicas without a sequence", t.global_batch_size, dp),
          fmt::format("set dp to at most {}, or global_batch_size to at least {}", t.global_batch_size, dp));
    }
    if (t.global_batch_size < t.micro_batch_size.value_or(1)) {
      error({"training.micro_batch_size", "training.global_batch_size"}, "E111",
            fmt::format("micro_batch_size {} is larger than global_batch_size {}", t.micro_batch_size.value(),
                        t.global_batch_size),
            fmt::format("set micro_batch_size to at most {}", t.global_batch_size));
    }
    const auto shards = job_.parallelism.logical_shards;
    if (!shards.is_auto() && dp > shards.value()) {
      error({"parallelism.logical_shards", "parallelism.dp"}, "E112",
            fmt::format("dp {} exceeds logical_shards {}", dp, shards.value()),
            fmt::format("set dp to at most {}, or logical_shards: auto", shards.value()));
    }
  }

  void duration() {
    const auto& t = job_.training;
    if (t.steps && t.tokens) {
      error({"training.tokens", "training.steps"}, "E116", "training.steps and training.tokens are both given",
            "keep one of them");
    } else if (!reading_.is_given("training.steps") && !reading_.is_given("training.tokens")) {
      reading_.diagnostics.add(reading_.place_of({"training"}), "E108", "training.steps is missing",
                               "write e.g. steps: 500, or tokens: 100M");
    }
  }

  void learning_rate() {
    const auto& s = job_.lr_schedule;
    if (s.min_lr > job_.optimizer.lr) {
      error({"lr_schedule.min_lr", "optimizer.lr"}, "E117",
            fmt::format("min_lr {:g} is above optimizer.lr {:g}", s.min_lr, job_.optimizer.lr),
            "the rate falls from lr to min_lr; swap or lower min_lr");
    }
    const bool known = reading_.usable({"training.steps", "training.tokens", "training.sequence_length",
                                        "training.global_batch_size", "lr_schedule.warmup_steps"});
    if (!known) return;
    // A short trial of a long job (training.steps=10 on the command line) is a common wish, so no error.
    const auto steps = job_.training.total_steps();
    if (steps > 0 && s.warmup_steps > steps) {
      warn({"lr_schedule.warmup_steps"}, "W117",
           fmt::format("warm-up of {} steps is longer than the run of {}", s.warmup_steps, steps),
           "the learning rate never reaches optimizer.lr; lower warmup_steps");
    }
  }

  void tokenizer() {
    const auto& t = job_.tokenizer;
    if (t.kind != TokenizerKind::byte && !t.path) {
      error({"tokenizer.kind"}, "E108", fmt::format("tokenizer.path is missing for kind {}", name_of(t.kind)),
            "write e.g. path: tok/tokenizer.json");
    }
    if (t.kind == TokenizerKind::byte && t.path) {
      warn({"tokenizer.path"}, "W120", "the byte tokenizer reads no file", "remove path, or set kind");
    }
    const int64_t ids = t.kind == TokenizerKind::byte ? 256 : t.kind == TokenizerKind::gpt2_bpe ? 50257 : 0;
    if (job_.model.vocab_size < ids) {
      warn({"model.vocab_size", "tokenizer.kind"}, "W120",
           fmt::format("model.vocab_size {} is smaller than the tokenizer's {}", job_.model.vocab_size, ids),
           "text cannot be sampled unless every id in the data is smaller");
    }
  }

  const JobConfig& job_;
  Reading& reading_;
};

}  // namespace

void check(const JobConfig& job, Reading& reading) { Checks(job, reading).run(); }

}  // namespace trident::config
