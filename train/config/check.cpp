#include <fmt/format.h>

#include <algorithm>

#include "train/config/checker.h"
#include "train/config/complete.h"
#include "train/config/keys.h"

namespace trident::config {
namespace {

class Checks : Checker {
 public:
  using Checker::Checker;

  void run() {
    names();
    family();
    heads();
    lengths();
    duration();
    learning_rate();
    tokenizer();
    trace();
    fp8();
    if (job_.fault.node_timeout.value <= job_.fault.heartbeat.value) {
      error({"fault.node_timeout", "fault.heartbeat"}, "E121", "node_timeout must be longer than heartbeat",
            "make it at least four heartbeats");
    }
  }

 private:
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
                        nearest_multiples(m.num_attention_heads, m.hidden_size, 1 << 24)));
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

  void lengths() {
    const auto length = job_.training.sequence_length;
    const auto positions = job_.model.max_position_embeddings;
    if (length > positions) {
      error({"training.sequence_length", "model.max_position_embeddings"}, "E115",
            fmt::format("sequence_length {} is longer than max_position_embeddings {}", length, positions),
            fmt::format("set sequence_length to at most {}, or max_position_embeddings: {}", positions, length));
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

  void fp8() {
    const auto& p = job_.precision;
    if (!p.fp8) return;
    if (p.compute != Precision::bf16) {
      error({"precision.fp8", "precision.compute"}, "E127",
            fmt::format("fp8 products stand beside bf16, not beside compute {}", name_of(p.compute)),
            "set compute: bf16, or fp8: false");
    }
    if (job_.device == Device::cpu)
      error({"precision.fp8", "device"}, "E127", "fp8 products run on GPUs only", "set device: cuda, or fp8: false");
  }

  void trace() {
    const auto& steps = job_.logging.trace_steps;
    if (!steps) return;
    const auto [first, last] = *steps;
    if (first > last) {
      error({"logging.trace_steps"}, "E124", fmt::format("trace_steps [{}, {}] ends before it begins", first, last),
            fmt::format("write [{}, {}]", last, first));
      return;
    }
    if (!reading_.usable(
            {"training.steps", "training.tokens", "training.sequence_length", "training.global_batch_size"}))
      return;
    const auto total = job_.training.total_steps();
    if (total > 0 && first > total) {
      warn({"logging.trace_steps"}, "W124",
           fmt::format("trace_steps begins at step {}, after the run's last, {}", first, total),
           "no timeline is written; lower it");
    }
  }
};

}  // namespace

void check(const JobConfig& job, Reading& reading) {
  Checks(job, reading).run();
  check_layout(job, reading);
}

}  // namespace trident::config
