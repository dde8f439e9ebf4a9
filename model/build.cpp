#include "model/build.h"

#include <cmath>

namespace trident {
namespace {

Parameter parameter(std::string name, Shape shape, Layout layout, Initializer initializer) {
  Parameter made;
  made.name = std::move(name);
  made.global_shape = shape;
  made.layout = layout;
  made.initializer = initializer;
  return made;
}

bool has_biases(const ModelConfig& config) { return config.architecture == Architecture::gpt2; }

// One logical output of a linear layer.
struct Output {
  std::string name;
  int64_t features;
};

enum class Split { outputs, inputs };  // column-parallel or row-parallel under tensor parallelism

Linear build_linear(const ModelConfig& config, const std::vector<Output>& outputs, int64_t inputs, double std,
                    Split split) {
  ParameterGroup weight, bias;
  const Layout weight_layout = Layout::tensor_parallel(split == Split::outputs ? 0 : 1);
  const Layout bias_layout = split == Split::outputs ? Layout::tensor_parallel(0) : Layout();
  for (const auto& [name, features] : outputs) {
    weight.members.push_back(parameter(name + ".weight", {features, inputs}, weight_layout, Initializer::normal(std)));
    if (has_biases(config)) bias.members.push_back(parameter(name + ".bias", {features}, bias_layout, {}));
  }
  return {std::move(weight), std::move(bias)};
}

Norm build_norm(const ModelConfig& config, const std::string& name) {
  const Shape shape{config.hidden_size};
  ParameterGroup gain({parameter(name + ".weight", shape, {}, Initializer::ones())});
  if (!has_biases(config)) return {NormKind::rms, config.norm_eps, std::move(gain), {}};
  ParameterGroup bias({parameter(name + ".bias", shape, {}, Initializer::zeros())});
  return {NormKind::layer, config.norm_eps, std::move(gain), std::move(bias)};
}

// Projections into the residual stream start smaller, since 2·layers of them add up there (Radford et al., "Language
// models are unsupervised multitask learners", 2019, section 2.3).
double residual_std(const ModelConfig& config) {
  return config.initializer_range / std::sqrt(2.0 * static_cast<double>(config.num_hidden_layers));
}

}  // namespace

Embedding build_embedding(const ModelConfig& config) {
  const Initializer initializer = Initializer::normal(config.initializer_range);
  ParameterGroup table({parameter("embedding.weight", {config.vocab_size, config.hidden_size},
                                  Layout::tensor_parallel(0), initializer)});
  ParameterGroup positions;
  if (config.architecture == Architecture::gpt2) {
    positions.members.push_back(
        parameter("position_embedding.weight", {config.max_position_embeddings, config.hidden_size}, {}, initializer));
  }
  return {std::move(table), std::move(positions)};
}

TransformerBlock build_block(const ModelConfig& config, int64_t layer, Recompute recompute, const Tensor* rope) {
  const std::string prefix = "layers." + std::to_string(layer) + ".";
  const std::string attention = prefix + "attention.", mlp = prefix + "mlp.";
  const int64_t hidden = config.hidden_size, inner = config.intermediate_size;
  const int64_t queries = config.num_attention_heads * config.head_dim;
  const int64_t keys = config.num_key_value_heads * config.head_dim;
  const double std = config.initializer_range;

  std::vector<Output> up{{mlp + "up", inner}};
  if (config.architecture == Architecture::llama) up.insert(up.begin(), {mlp + "gate", inner});
  return {
      recompute, build_norm(config, prefix + "attention_norm"),
      Attention(
          config, rope,
          build_linear(config, {{attention + "query", queries}, {attention + "key", keys}, {attention + "value", keys}},
                       hidden, std, Split::outputs),
          build_linear(config, {{attention + "output", hidden}}, queries, residual_std(config), Split::inputs)),
      build_norm(config, prefix + "mlp_norm"),
      Mlp(config.architecture, recompute, build_linear(config, up, hidden, std, Split::outputs),
          build_linear(config, {{mlp + "down", hidden}}, inner, residual_std(config), Split::inputs))};
}

Head build_head(const ModelConfig& config, const Embedding& embedding) {
  ParameterGroup weight;
  if (!config.tie_word_embeddings) {
    weight.members.push_back(parameter("head.weight", {config.vocab_size, config.hidden_size},
                                       Layout::tensor_parallel(0), Initializer::normal(config.initializer_range)));
  }
  return {build_norm(config, "final_norm"), std::move(weight), embedding};
}

}  // namespace trident
