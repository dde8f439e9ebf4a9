#include "plan/layout_memory.h"

#include <algorithm>
#include <cmath>

#include "parallel/data/reduction_tree.h"

namespace trident::plan {
namespace {

double divide_up(double value, double by) { return std::ceil(value / by); }

// Microbatches at once in a stage: before and after their input gradient.
struct Live {
  int64_t until_input = 0;
  int64_t until_weight = 0;
};

// When a rank holds the most: the warm-up of each schedule (parallel/pipeline/schedules.cpp) and one more. `number`
// counts the rank's stages.
Live live(const Layout& layout, int64_t microbatches, int64_t rank, int64_t number) {
  const int64_t p = layout.pp, v = layout.virtual_stages, m = microbatches;
  if (layout.schedule == "gpipe") return {m};
  if (layout.schedule == "zb-h1") return {std::min(m, p - rank), std::min(std::max<int64_t>(0, m - (p - rank)), rank)};
  if (layout.schedule == "zb-v") return {std::min(m, number == 0 ? 2 * p - 1 - rank : rank + 1)};
  if (v == 1) return {std::min(m, p - rank)};
  // Groups of p go around; the first stage may begin with the second group before the last one's first backward.
  const int64_t last = 2 * (p - rank) - 1, again = std::max<int64_t>(0, last - p);
  return {std::min(m, number + 1 == v ? std::min(p, last) : number == 0 ? p + again : p)};
}

class MemoryModel {
 public:
  MemoryModel(const Workload& workload, const Layout& layout, std::span<const int32_t> layers, int64_t snapshots)
      : workload_(workload),
        layout_(layout),
        layers_(layers),
        snapshots_(snapshots),
        sizes_(activation_sizes(workload, layout)),
        microbatches_(most_microbatches(workload, layout)),
        element_(static_cast<double>(size_of(workload.compute))),
        master_(static_cast<double>(size_of(accumulation_dtype(workload.compute)))) {}

  MemoryByKind of_rank(int64_t rank) const {
    MemoryByKind memory;
    const double held = held_parameters(workload_, layout_, layers_, rank);
    const bool sharded = layout_.zero_stage == 1 && layout_.dp > 1;
    const double owned = sharded ? held / static_cast<double>(layout_.dp) : held;
    const bool masters = element_ != master_;
    memory.parameters = held * element_ + (masters && !sharded ? held * master_ : 0);
    memory.optimizer = owned * master_ * (masters && sharded ? 3 : 2);
    memory.snapshots = static_cast<double>(snapshots_) * 3 * owned * master_;
    memory.gradients = gradients(held, rank);
    memory.other = arriving(held);
    memory.activations = activations(rank);
    return memory;
  }

 private:
  ShardRun shards_of_rank() const {
    return trident::shards_of(0, static_cast<int>(layout_.dp), static_cast<int>(shards_of(workload_, layout_)));
  }

  double gradients(double held, int64_t rank) const {
    const ShardRun run = shards_of_rank();
    const ReductionTree tree(static_cast<int>(shards_of(workload_, layout_)));
    const double buffers = workload_.reduction == ReductionKind::exact ? tree.buffers(run) : 1;
    double bytes = buffers * held * master_;
    if (!workload_.model.tie_word_embeddings) return bytes;
    const double table = part_parameters(workload_.model, layout_.tp).table;
    const bool first = rank == 0, last = rank == layout_.last_rank();
    if ((first || last) && layout_.stages() > 1 && run.size() > 1) bytes += run.size() * table * master_;
    if (first && last) bytes += touched_rows(run) * static_cast<double>(workload_.model.hidden_size) * master_;
    return bytes;
  }

  // Of an embedding whose gradient is kept apart from the tied head's: a row for each token of a logical shard.
  double touched_rows(const ShardRun& run) const {
    const double vocabulary =
        divide_up(static_cast<double>(workload_.model.vocab_size), static_cast<double>(layout_.tp));
    const double tokens = divide_up(static_cast<double>(microbatches_), run.size()) *
                          static_cast<double>(layout_.micro_batch_size * workload_.sequence_length);
    return std::min(vocabulary, tokens);
  }

  // Two buckets of 2^20 elements: a part from every other rank for each of its subtrees.
  double arriving(double held) const {
    if (layout_.dp == 1 || workload_.reduction != ReductionKind::exact) return 0;
    const auto dp = static_cast<double>(layout_.dp);
    const double pieces = static_cast<double>(
        ReductionTree(static_cast<int>(shards_of(workload_, layout_))).subtrees(shards_of_rank()).size());
    return 2 * std::min(held, 1048576.0) / dp * (dp - 1) * pieces * master_;
  }

  double layers_of_stage(int64_t stage) const { return layers_[static_cast<size_t>(stage)]; }
  bool has_head(int64_t stage) const { return stage + 1 == layout_.stages(); }

  pipeline::SavedSize saved(int64_t stage) const {
    const auto& layer = sizes_.layer.saved;
    pipeline::SavedSize size{layer.until_input * layers_of_stage(stage), layer.until_weight * layers_of_stage(stage)};
    if (has_head(stage)) size.until_input += sizes_.head.saved.until_input;
    if (has_head(stage)) size.until_weight += sizes_.head.saved.until_weight;
    return size;
  }

  // All that waits, while one pass runs. A microbatch's head is done when its layers' backward passes begin.
  double activations(int64_t rank) const {
    double waiting = 0, passing = sizes_.layer.backward;
    for (int64_t number = 0; number < layout_.virtual_stages; ++number) {
      const int64_t stage = layout_.stage_of(rank, number);
      const Live count = live(layout_, microbatches_, rank, number);
      const pipeline::SavedSize size = saved(stage);
      waiting += static_cast<double>(count.until_input) * size.until_input +
                 static_cast<double>(count.until_weight) * size.until_weight;
      if (has_head(stage))
        passing = std::max(sizes_.layer.backward - sizes_.head.saved.until_input, sizes_.head.backward);
    }
    if (layout_.schedule == "zb-v") {
      // Or one more of the first stage, and one less of the second.
      const double other = waiting + saved(rank).until_input - saved(2 * layout_.pp - 1 - rank).until_input;
      if (microbatches_ >= 2 * layout_.pp) waiting = std::max(waiting, other + sizes_.layer.backward - passing);
    }
    return waiting + passing + boundaries(rank) * sizes_.boundary;
  }

  // An output that is being sent and a gradient that arrives.
  double boundaries(int64_t rank) const {
    if (layout_.pp == 1) return 0;
    return rank == 0 || (rank + 1 == layout_.pp && layout_.virtual_stages == 1) ? 1 : 2;
  }

  const Workload& workload_;
  const Layout& layout_;
  std::span<const int32_t> layers_;
  int64_t snapshots_;
  ActivationSizes sizes_;
  int64_t microbatches_;
  double element_, master_;
};

}  // namespace

PartParameters part_parameters(const ModelConfig& model, int64_t tp) {
  const auto t = static_cast<double>(tp);
  const auto h = static_cast<double>(model.hidden_size), f = static_cast<double>(model.intermediate_size) / t;
  const double q = static_cast<double>(model.num_attention_heads * model.head_dim) / t;
  const double kv =
      std::max(static_cast<double>(model.num_key_value_heads) / t, 1.0) * static_cast<double>(model.head_dim);
  const bool gpt2 = model.architecture == Architecture::gpt2;
  const double norm = gpt2 ? 2 * h : h;
  PartParameters parts;
  parts.table = divide_up(static_cast<double>(model.vocab_size), t) * h;
  parts.layer = h * (q + 2 * kv) + q * h + (gpt2 ? 2 : 3) * h * f + 2 * norm;
  if (gpt2) parts.layer += q + 2 * kv + h + f + h;
  parts.embedding = parts.table + (gpt2 ? static_cast<double>(model.max_position_embeddings) * h : 0);
  parts.head = norm + parts.table;
  return parts;
}

double held_parameters(const Workload& workload, const Layout& layout, std::span<const int32_t> layers_per_stage,
                       int64_t rank) {
  const PartParameters parts = part_parameters(workload.model, layout.tp);
  double elements = 0;
  bool first = false, last = false;
  for (int64_t number = 0; number < layout.virtual_stages; ++number) {
    const int64_t stage = layout.stage_of(rank, number);
    elements += layers_per_stage[static_cast<size_t>(stage)] * parts.layer;
    first = first || stage == 0;
    last = last || stage + 1 == layout.stages();
  }
  if (first) elements += parts.embedding;
  if (last) elements += parts.head;
  if (first && last && workload.model.tie_word_embeddings) elements -= parts.table;
  return elements;
}

ActivationSizes activation_sizes(const Workload& workload, const Layout& layout) {
  const ModelConfig& model = workload.model;
  const auto t = static_cast<double>(layout.tp), e = static_cast<double>(size_of(workload.compute));
  const auto acc = static_cast<double>(size_of(accumulation_dtype(workload.compute)));
  const double tokens =
      static_cast<double>(layout.micro_batch_size * workload.sequence_length) / static_cast<double>(layout.cp);
  const bool cuts = layout.sequence_parallel && layout.tp > 1, gated = model.architecture == Architecture::llama;
  const double rows = cuts ? tokens / t : tokens;
  const double q = static_cast<double>(model.num_attention_heads * model.head_dim) / t;
  const double kv =
      std::max(static_cast<double>(model.num_key_value_heads) / t, 1.0) * static_cast<double>(model.head_dim);
  // One tensor of each kind, in bytes.
  const double row = rows * static_cast<double>(model.hidden_size) * e;
  const double whole = tokens * static_cast<double>(model.hidden_size) * e, gathered = cuts ? whole : 0;
  const double qkv = tokens * (q + 2 * kv) * e, attended = tokens * q * e;
  const double active = tokens * static_cast<double>(model.intermediate_size) / t * e;
  const double inner = gated ? 2 * active : active;
  const double stats = rows * 2 * acc;
  const double lse = tokens * static_cast<double>(model.num_attention_heads) / t * acc;

  ActivationSizes sizes;
  sizes.boundary = row;
  PartActivations& layer = sizes.layer;
  // Norm inputs (the block's, the sum's) with statistics, queries, keys and values, attention's output, inner values;
  // and, unless recomputed, the outputs of both norms and of the activation function.
  const double always = 2 * row + 2 * stats + qkv + attended + lse + inner, cheap = 2 * row + active;
  const double everything = always + cheap;
  layer.saved.until_input = layout.recompute == Recompute::none        ? everything
                            : layout.recompute == Recompute::selective ? always
                                                                       : row;
  // The inputs and the output gradients of four products. A row-parallel product keeps the gathered gradient.
  const double kept_gradient = cuts ? whole : row;
  layer.saved.until_weight = 2 * row + attended + active + qkv + inner + 2 * kept_gradient;
  layer.forward = gathered + whole + row + active;
  // The MLP's backward pass: its output's gradient, brought together, and those of the activation function's ends.
  layer.backward = 2 * row + gathered + active + inner;
  if (layout.recompute == Recompute::selective) layer.backward += cheap - row;
  if (layout.recompute == Recompute::full) layer.backward += everything - row;

  PartActivations& head = sizes.head;
  const double logits = tokens * divide_up(static_cast<double>(model.vocab_size), t) * e;
  head.saved.until_input = row + stats + whole + logits + tokens * acc;
  head.saved.until_weight = whole + logits;
  head.forward = gathered + tokens * acc + tokens * 3 * acc * t;
  head.backward = whole + row;
  return sizes;
}

int64_t snapshots_of_rank(const ClusterSpec& cluster, int64_t ranks) {
  constexpr int64_t kOneNode = 3, kSeveralNodes = 6;
  return cluster.ranks_on_node(ranks) < ranks ? kSeveralNodes : kOneNode;
}

MemoryByKind layout_memory(const Workload& workload, const Layout& layout, std::span<const int32_t> layers_per_stage,
                           int64_t snapshots) {
  const MemoryModel model(workload, layout, layers_per_stage, snapshots);
  MemoryByKind most = model.of_rank(0);
  for (int64_t rank = 1; rank < layout.pp; ++rank) {
    // Those in the middle hold fewer microbatches than the first and have no head.
    if (rank > 1 && rank + 1 < layout.pp) continue;
    const MemoryByKind other = model.of_rank(rank);
    if (other.on_device() > most.on_device()) most = other;
  }
  return most;
}

}  // namespace trident::plan
