#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <optional>
#include <vector>

#include "kernels/linear.h"
#include "parallel/pipeline/schedule.h"
#include "parallel/pipeline/stage_cut.h"
#include "train/config/checker.h"
#include "train/config/complete.h"
#include "train/config/keys.h"
#include "train/config/microbatch_split.h"

namespace trident::config {
namespace {

class LayoutChecks : Checker {
 public:
  using Checker::Checker;

  void run() {
    tensor_parallel();
    fp8();
    sequence_parallel();
    batch();
    logical_shards();
    stages();
    schedule();
  }

 private:
  void tensor_parallel() {
    const auto& m = job_.model;
    const auto tp = layout_.tp.value_or(1);
    if (!reading_.usable({"model.num_attention_heads", "model.num_key_value_heads", "model.intermediate_size",
                          "model.vocab_size", "parallelism.tp"}))
      return;
    const auto problems = tensor_parallel_problems(m, tp);
    if (problems.empty()) return;
    const auto nearest = nearest_legal(tp, m.num_attention_heads, [&](int64_t other) {
      return m.num_attention_heads % other == 0 && tensor_parallel_problems(m, other).empty();
    });
    for (const auto& found : problems) {
      error({"parallelism.tp", "parallelism"}, "E113", found.problem, fmt::format("nearest: tp {}", nearest));
    }
  }

  void fp8() {
    if (!job_.precision.fp8) return;
    const auto tp = layout_.tp.value_or(1);
    if (reading_.usable({"model.num_attention_heads", "model.num_key_value_heads", "model.head_dim",
                         "model.hidden_size", "model.intermediate_size"}) &&
        tensor_parallel_problems(job_.model, tp).empty()) {
      for (const auto& found : fp8_problems(job_.model, tp))
        error({"precision.fp8", "parallelism.tp"}, "E127", found.problem,
              fmt::format("change {}{}, or set fp8: false", found.key, tp > 1 ? " or tp" : ""));
    }
    const auto& t = job_.training;
    const auto size = t.micro_batch_size.value_or(1), tokens = size * t.sequence_length;
    if (tokens % kFp8Multiple == 0) return;
    error({"precision.fp8", "training.micro_batch_size", "training.sequence_length"}, "E127",
          fmt::format("fp8 needs microbatches of a multiple of {} tokens, not micro_batch_size {} · sequence_length {} "
                      "= {}",
                      kFp8Multiple, size, t.sequence_length, tokens),
          fmt::format("nearest: sequence_length {}, or fp8: false",
                      nearest_multiples(kFp8Multiple, t.sequence_length, job_.model.max_position_embeddings)));
  }

  /// With it a step has enough microbatches for dp, logical shards and schedule together; 0 where none does.
  [[nodiscard]] int64_t largest_micro_batch() const {
    const auto batch = job_.training.global_batch_size, least = least_microbatches(job_);
    return least == 1 ? batch : (batch - 1) / (least - 1);
  }

  /// What ends a lack of microbatches.
  [[nodiscard]] std::string more_microbatches() const {
    if (const auto size = largest_micro_batch(); size >= 1) return fmt::format("micro_batch_size to at most {}", size);
    return fmt::format("global_batch_size to at least {}",
                       (least_microbatches(job_) - 1) * job_.training.micro_batch_size.value() + 1);
  }

  /// Every rank holds an equal run of a microbatch's tokens between the products.
  void sequence_parallel() {
    const auto& t = job_.training;
    const auto tp = layout_.tp.value_or(1);
    if (!layout_.sequence_parallel.value_or(false) || t.micro_batch_size.is_auto()) return;
    if (!reading_.usable({"training.global_batch_size", "training.sequence_length", "training.micro_batch_size"}))
      return;
    const auto size = t.micro_batch_size.value(), length = t.sequence_length;
    if (size * length % tp == 0) return;
    const auto sizes = nearest_multiples(tp / std::gcd(length, tp), size, largest_micro_batch());
    const auto lengths = nearest_multiples(tp / std::gcd(size, tp), length, job_.model.max_position_embeddings);
    error({"parallelism.sequence_parallel", "parallelism.tp", "training.micro_batch_size", "training.sequence_length",
           "parallelism"},
          "E113",
          fmt::format("sequence_parallel: micro_batch_size {} · sequence_length {} = {} tokens cannot split over tp {}",
                      size, length, size * length, tp),
          fmt::format("nearest: {}{}sequence_parallel: false",
                      sizes.empty() ? "" : fmt::format("micro_batch_size {}, or ", sizes),
                      lengths.empty() ? "" : fmt::format("sequence_length {}, or ", lengths)));
  }

  void batch() {
    const auto& t = job_.training;
    const auto dp = layout_.dp.value_or(1);
    if (t.global_batch_size < dp) {
      error(
          {"parallelism.dp", "training.global_batch_size", "parallelism"}, "E111",
          fmt::format("global_batch_size {} leaves some of dp {} replicas without a sequence", t.global_batch_size, dp),
          fmt::format("set dp to at most {}, or global_batch_size to at least {}", t.global_batch_size, dp));
    }
    const auto size = t.micro_batch_size.value_or(1);
    if (t.global_batch_size < size) {
      error({"training.micro_batch_size", "training.global_batch_size"}, "E111",
            fmt::format("micro_batch_size {} is larger than global_batch_size {}", size, t.global_batch_size),
            fmt::format("set micro_batch_size to at most {}", t.global_batch_size));
    } else if (const auto microbatches = counted(); t.global_batch_size >= dp && microbatches && *microbatches < dp) {
      error({"parallelism.dp", "training.micro_batch_size", "training.global_batch_size", "parallelism"}, "E111",
            fmt::format("{} microbatch{} of micro_batch_size {} leave{} some of dp {} replicas without one",
                        *microbatches, *microbatches == 1 ? "" : "es", size, *microbatches == 1 ? "s" : "", dp),
            fmt::format("set dp to at most {}, or {}", *microbatches, more_microbatches()));
    }
  }

  void logical_shards() {
    if (layout_.logical_shards.is_auto()) return;
    const auto shards = layout_.logical_shards.value();
    const auto dp = layout_.dp.value_or(1);
    if (dp > shards) {
      error({"parallelism.logical_shards", "parallelism.dp"}, "E112",
            fmt::format("dp {} exceeds logical_shards {}", dp, shards),
            fmt::format("set dp to at most {}, or logical_shards: auto", shards));
    }
    const auto microbatches = counted();
    if (microbatches && *microbatches < shards) {
      error({"parallelism.logical_shards", "training.micro_batch_size", "training.global_batch_size"}, "E112",
            fmt::format("logical_shards {} exceeds the {} microbatch{} of a step", shards, *microbatches,
                        *microbatches == 1 ? "" : "es"),
            fmt::format("set logical_shards to at most {}, or {}", *microbatches, more_microbatches()));
    }
  }

  /// Microbatches of a step, where they can be counted.
  [[nodiscard]] std::optional<int64_t> counted() const {
    const auto& size = job_.training.micro_batch_size;
    if (!reading_.usable({"training.micro_batch_size", "training.global_batch_size"}) || size.is_auto()) return {};
    return size.value() > job_.training.global_batch_size ? std::nullopt : std::optional(step_microbatches(job_));
  }

  /// How they lie on the dp ranks, where they can.
  [[nodiscard]] std::optional<MicrobatchSplit> split() const {
    const auto microbatches = counted();
    if (!microbatches || layout_.dp.is_auto()) return {};
    if (!reading_.usable({"parallelism.dp", "parallelism.logical_shards"})) return {};
    const auto dp = layout_.dp.value(), shards = layout_.logical_shards.value_or(dp);
    if (dp > shards || shards > *microbatches) return {};
    return MicrobatchSplit{*microbatches, shards, dp};
  }

  [[nodiscard]] bool pipeline_is_decided() const {
    return reading_.usable({"parallelism.pp", "parallelism.virtual_stages", "parallelism.schedule"}) &&
           !layout_.pp.is_auto() && !layout_.virtual_stages.is_auto() && !layout_.schedule.is_auto();
  }

  void stages() {
    if (!pipeline_is_decided() || !reading_.usable({"model.num_hidden_layers"})) return;
    const auto layers = job_.model.num_hidden_layers;
    const auto pp = layout_.pp.value(), chunks = layout_.virtual_stages.value();
    if (pp * chunks <= layers) return layers_per_stage(pp * chunks, layers);
    const auto what = chunks == 1 ? fmt::format("pp {} is", pp)
                                  : fmt::format("pp {} · virtual_stages {} = {} stages are", pp, chunks, pp * chunks);
    const auto nearest = layers / chunks > 0
                             ? fmt::format("pp to at most {}", layers / chunks)
                             : fmt::format("virtual_stages to at most {}", std::max<int64_t>(1, layers / pp));
    error({"parallelism.pp", "parallelism.virtual_stages", "parallelism.schedule", "model.num_hidden_layers",
           "parallelism"},
          "E123", fmt::format("{} more than num_hidden_layers {}; each stage has a layer", what, layers),
          fmt::format("set {}, or num_hidden_layers to at least {}", nearest, pp * chunks));
  }

  void layers_per_stage(int64_t stages, int64_t layers) {
    if (!layout_.layers_per_stage || !reading_.usable({"parallelism.layers_per_stage"})) return;
    const std::vector<int32_t> cut(layout_.layers_per_stage->begin(), layout_.layers_per_stage->end());
    try {
      pipeline::check_stage_cut(cut, static_cast<int32_t>(layers), static_cast<int32_t>(stages));
    } catch (const Error& refusal) {
      error({"parallelism.layers_per_stage"}, "E123", refusal.problem(), refusal.remedy());
    }
  }

  [[nodiscard]] bool is(PipelineSchedule schedule) const { return layout_.schedule == Auto(schedule); }

  void schedule() {
    if (!pipeline_is_decided()) return;
    const std::string name(name_of(layout_.schedule.value()));
    const auto pp = layout_.pp.value(), chunks = layout_.virtual_stages.value();
    if (!chunks_fit(name, chunks)) return;
    const auto split = this->split();
    if (!split) return;
    // The last rank has the fewest microbatches, the first the most.
    if (is(PipelineSchedule::interleaved) && split->fewest() < pp) return too_few_microbatches(*split);
    if (const auto refusal = pipeline::refuse({name, pp, split->most(), chunks})) {
      error({"parallelism.pp", "parallelism.schedule", "training.micro_batch_size", "training.global_batch_size"},
            "E122", refusal->reason, refusal->remedy);
    }
  }

  bool chunks_fit(const std::string& name, int64_t chunks) {
    const auto refusal = pipeline::refuse({name, 1, 1, chunks});
    const bool v = is(PipelineSchedule::zb_v), interleaved = is(PipelineSchedule::interleaved);
    if (!refusal && (chunks > 1 || !(v || interleaved))) return true;
    error({"parallelism.virtual_stages", "parallelism.schedule", "parallelism"}, "E122",
          refusal ? refusal->reason
                  : fmt::format("{} has {} stages per rank, not {}", name, v ? "exactly two" : "two or more", chunks),
          v             ? "set virtual_stages: 2"
          : interleaved ? "set virtual_stages to at least 2, or schedule: 1f1b"
                        : "set virtual_stages: 1, or schedule: interleaved");
    return false;
  }

  /// The rule is pipeline::refuse()'s, said in the job file's keys.
  void too_few_microbatches(const MicrobatchSplit& split) {
    const auto pp = layout_.pp.value(), fewest = split.fewest();
    error({"parallelism.schedule", "parallelism.pp", "training.micro_batch_size", "training.global_batch_size"}, "E122",
          fmt::format("interleaved needs at least pp {} microbatches on every dp rank, and {} {} {}", pp,
                      split.dp == 1 ? "there" : "one rank",
                      split.dp > 1  ? "has"
                      : fewest == 1 ? "is"
                                    : "are",
                      fewest),
          fmt::format("set pp to at most {}, or {}, or schedule: 1f1b", fewest, more_microbatches()));
  }

  const ParallelismSection& layout_ = job_.parallelism;
};

}  // namespace

void check_layout(const JobConfig& job, Reading& reading) { LayoutChecks(job, reading).run(); }

}  // namespace trident::config
