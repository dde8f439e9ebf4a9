#include "model/build.h"

#include <cmath>

namespace trident {
namespace {

Parameter parameter(std::string name, Shape shape, Initializer initializer) {
  Parameter made;
  made.name = std::move(name);
  made.global_shape = shape;
  made.initializer = initializer;
  return made;
}

bool has_biases(const ModelConfig& config) { return config.architecture == Architecture::gpt2; }

// Projections into the residual stream start smaller, since 2·layers of them add up there (Radford et al., "Language
// models are unsupervised multitask learners", 2019, section 2.3).
double residual_std(const ModelConfig& config) {
  return config.initializer_range / std::sqrt(2.0 * static_cast<double>(config.num_hidden_layers));
}

// One logical output of a column-parallel product, and this rank's part of it.
struct Output {
  std::string name;
  int64_t features = 0;
  ShardRange part;
  GradientSum gradient_sum = GradientSum::none;
};

ColumnParallelLinear build_column_parallel(const ModelConfig& config, const std::vector<Output>& outputs,
                                           LinearPrecision precision, const TensorParallel& tp) {
  ParameterGroup weight, bias;
  const auto add = [](ParameterGroup& group, Parameter made, const Output& output) {
    shard_parameter(made, 0, output.part);
    made.gradient_sum = output.gradient_sum;
    group.members.push_back(std::move(made));
  };
  for (const Output& output : outputs) {
    const Initializer initializer = Initializer::normal(config.initializer_range);
    add(weight, parameter(output.name + ".weight", {output.features, config.hidden_size}, initializer), output);
    if (has_biases(config)) add(bias, parameter(output.name + ".bias", {output.features}, {}), output);
  }
  return {std::move(weight), std::move(bias), tp, precision};
}

RowParallelLinear build_row_parallel(const ModelConfig& config, const std::string& name, int64_t inputs,
                                     LinearPrecision precision, const TensorParallel& tp) {
  Parameter weight =
      parameter(name + ".weight", {config.hidden_size, inputs}, Initializer::normal(residual_std(config)));
  shard_parameter(weight, 1, shard_range(inputs, tp.comm.rank(), tp.comm.size()));
  ParameterGroup bias;
  if (has_biases(config)) bias.members.push_back(parameter(name + ".bias", {config.hidden_size}, {}));
  return {ParameterGroup({std::move(weight)}), std::move(bias), tp, precision};
}

Norm build_norm(const ModelConfig& config, const std::string& name, const TensorParallel& tp) {
  const auto make = [&](const std::string& suffix, Initializer initializer) {
    Parameter made = parameter(name + suffix, {config.hidden_size}, initializer);
    if (tp.cuts_rows()) made.gradient_sum = GradientSum::axis;
    return ParameterGroup({std::move(made)});
  };
  ParameterGroup gain = make(".weight", Initializer::ones());
  if (!has_biases(config)) return {NormKind::rms, config.norm_eps, std::move(gain), {}};
  return {NormKind::layer, config.norm_eps, std::move(gain), make(".bias", Initializer::zeros())};
}

Parameter vocabulary_matrix(const ModelConfig& config, const std::string& name, const TensorParallel& tp) {
  Parameter made =
      parameter(name, {config.vocab_size, config.hidden_size}, Initializer::normal(config.initializer_range));
  shard_parameter(made, 0, shard_range(config.vocab_size, tp.comm.rank(), tp.comm.size()));
  return made;
}

// Key-value heads of a rank: an equal part of them, or, with fewer heads than ranks, one that several ranks share.
ShardRange local_kv_heads(const ModelConfig& config, const TensorParallel& tp) {
  const int64_t heads = config.num_key_value_heads, ranks = tp.comm.size();
  return {tp.comm.rank() * heads / ranks, std::max<int64_t>(1, heads / ranks)};
}

}  // namespace

void validate_tensor_parallel(const ModelConfig& config, int64_t tp) {
  std::string problems;
  for (const SizeProblem& found : tensor_parallel_problems(config, tp)) {
    problems += (problems.empty() ? "" : "; ") + found.problem;
  }
  if (!problems.empty())
    throw Error(ErrorCode::config, "parallelism.tp", problems, "choose a tp that divides them, such as 1 or 2");
}

VocabularyParallelEmbedding build_embedding(const ModelConfig& config, const TensorParallel& tp) {
  ParameterGroup table({vocabulary_matrix(config, "embedding.weight", tp)});
  ParameterGroup positions;
  if (config.architecture == Architecture::gpt2) {
    positions.members.push_back(parameter("position_embedding.weight",
                                          {config.max_position_embeddings, config.hidden_size},
                                          Initializer::normal(config.initializer_range)));
  }
  return {std::move(table), std::move(positions), tp};
}

TransformerBlock build_block(const ModelConfig& config, int64_t layer, const BlockOptions& options, const Tensor* rope,
                             const TensorParallel& tp) {
  const std::string prefix = "layers." + std::to_string(layer) + ".";
  const std::string attention = prefix + "attention.", mlp = prefix + "mlp.";
  const int64_t rank = tp.comm.rank(), ranks = tp.comm.size(), head = config.head_dim;
  const int64_t queries = config.num_attention_heads * head, keys = config.num_key_value_heads * head;
  const LocalHeads heads{config.num_attention_heads / ranks, local_kv_heads(config, tp).count, head};
  const ShardRange query_part{rank * heads.heads * head, heads.heads * head};
  const ShardRange key_part{local_kv_heads(config, tp).begin * head, heads.kv_heads * head};
  const GradientSum key_sum = ranks > config.num_key_value_heads ? GradientSum::replicas : GradientSum::none;

  const int64_t inner = config.intermediate_size;
  const ShardRange inner_part = shard_range(inner, tp.comm.rank(), tp.comm.size());
  std::vector<Output> up{{mlp + "up", inner, inner_part}};
  if (config.architecture == Architecture::llama) up.insert(up.begin(), {mlp + "gate", inner, inner_part});
  return {options.recompute, build_norm(config, prefix + "attention_norm", tp),
          Attention(heads, rope,
                    build_column_parallel(config,
                                          {{attention + "query", queries, query_part},
                                           {attention + "key", keys, key_part, key_sum},
                                           {attention + "value", keys, key_part, key_sum}},
                                          options.linear, tp),
                    build_row_parallel(config, attention + "output", queries, options.linear, tp)),
          build_norm(config, prefix + "mlp_norm", tp),
          Mlp(config.architecture, options.recompute, build_column_parallel(config, up, options.linear, tp),
              build_row_parallel(config, mlp + "down", inner, options.linear, tp))};
}

Head build_head(const ModelConfig& config, const VocabularyParallelEmbedding* embedding, const TensorParallel& tp) {
  ParameterGroup weight;
  if (!config.tie_word_embeddings) {
    weight.members.push_back(vocabulary_matrix(config, "head.weight", tp));
  } else if (embedding == nullptr) {
    weight.members.push_back(vocabulary_matrix(config, "embedding.weight", tp));
    weight.members.back().tied_copy = true;
  }
  return {build_norm(config, "final_norm", tp), std::move(weight), embedding, tp};
}

}  // namespace trident
