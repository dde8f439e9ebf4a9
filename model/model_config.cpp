#include "model/model_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>

#include "core/error.h"
#include "kernels/linear.h"

namespace trident {
namespace {

constexpr int64_t kLargestSize = int64_t{1} << 31;

void require(bool condition, std::string& problems, const std::string& problem) {
  if (condition) return;
  problems += (problems.empty() ? "" : "; ") + problem;
}

}  // namespace

std::string_view to_string(Architecture architecture) { return architecture == Architecture::llama ? "llama" : "gpt2"; }

void validate(const ModelConfig& config) {
  std::string problems;
  const auto size = [&](int64_t value, const char* key) {
    require(value >= 1 && value < kLargestSize, problems,
            fmt::format("model.{} is {}, expected 1 … {}", key, value, kLargestSize - 1));
  };
  size(config.hidden_size, "hidden_size");
  size(config.intermediate_size, "intermediate_size");
  size(config.num_hidden_layers, "num_hidden_layers");
  size(config.num_attention_heads, "num_attention_heads");
  size(config.num_key_value_heads, "num_key_value_heads");
  size(config.head_dim, "head_dim");
  size(config.vocab_size, "vocab_size");
  size(config.max_position_embeddings, "max_position_embeddings");
  if (problems.empty()) {
    require(config.num_attention_heads % config.num_key_value_heads == 0, problems,
            fmt::format("model.num_attention_heads {} is not a multiple of model.num_key_value_heads {}",
                        config.num_attention_heads, config.num_key_value_heads));
    require(config.architecture != Architecture::llama || config.head_dim % 2 == 0, problems,
            fmt::format("model.head_dim {} is odd; the rotary embedding needs pairs", config.head_dim));
    require(config.architecture != Architecture::gpt2 || config.num_attention_heads == config.num_key_value_heads,
            problems, "gpt2 has as many key-value heads as heads; set model.num_key_value_heads to the same number");
    require(
        config.architecture != Architecture::gpt2 || config.head_dim * config.num_attention_heads == config.hidden_size,
        problems, "gpt2 needs num_attention_heads · head_dim = hidden_size");
  }
  require(config.norm_eps > 0 && config.norm_eps < 1, problems, "the norm's epsilon must lie in (0, 1)");
  require(config.rope_theta > 0, problems, "model.rope_theta must be positive");
  require(config.initializer_range > 0 && config.initializer_range < 10, problems,
          "model.initializer_range must lie in (0, 10)");
  if (!problems.empty()) throw Error(ErrorCode::config, "model", problems);
}

std::vector<SizeProblem> tensor_parallel_problems(const ModelConfig& config, int64_t tp) {
  const int64_t heads = config.num_attention_heads, kv_heads = config.num_key_value_heads;
  std::vector<SizeProblem> problems;
  const auto cannot_split = [&](std::string_view key, int64_t size) {
    problems.push_back({key, fmt::format("{} {} cannot split over tp {}", key, size, tp)});
  };
  if (heads % tp != 0) cannot_split("num_attention_heads", heads);
  if (kv_heads % tp != 0 && tp % kv_heads != 0) {
    problems.push_back(
        {"num_key_value_heads",
         fmt::format("num_key_value_heads {} can neither split over tp {} nor be copied evenly", kv_heads, tp)});
  }
  if (config.intermediate_size % tp != 0) cannot_split("intermediate_size", config.intermediate_size);
  if (config.vocab_size < tp) {
    problems.push_back({"vocab_size", fmt::format("vocab_size {} is smaller than tp {}", config.vocab_size, tp)});
  }
  return problems;
}

std::vector<SizeProblem> fp8_problems(const ModelConfig& config, int64_t tp) {
  std::vector<SizeProblem> problems;
  const auto check = [&](std::string_view key, std::string_view what, int64_t size) {
    if (size % kFp8Multiple == 0) return;
    problems.push_back({key, fmt::format("fp8 needs multiples of {}: {} of a rank are {}", kFp8Multiple, what, size)});
  };
  const int64_t queries = config.num_attention_heads / tp * config.head_dim;
  const int64_t keys = std::max<int64_t>(1, config.num_key_value_heads / tp) * config.head_dim;
  check("hidden_size", "the columns of hidden states", config.hidden_size);
  check("intermediate_size", "the inner columns", config.intermediate_size / tp);
  check("num_attention_heads", "the queries' columns", queries);
  check("num_key_value_heads", "the columns of queries, keys and values", queries + 2 * keys);
  return problems;
}

namespace {

struct Counts {
  int64_t matrix_weights;  // take part in matrix products, head included
  int64_t other;           // norms, biases, positions, the input embedding
};

Counts count(const ModelConfig& c) {
  const int64_t d = c.hidden_size, f = c.intermediate_size;
  const int64_t q = c.num_attention_heads * c.head_dim, kv = c.num_key_value_heads * c.head_dim;
  const bool gpt2 = c.architecture == Architecture::gpt2;
  const int64_t layer_matrices = d * (q + 2 * kv) + q * d + (gpt2 ? 2 : 3) * d * f;
  const int64_t layer_biases = gpt2 ? q + 2 * kv + d + f + d : 0;
  const int64_t norm = gpt2 ? 2 * d : d;
  const int64_t embedding = c.vocab_size * d;
  const int64_t positions = gpt2 ? c.max_position_embeddings * d : 0;
  return {c.num_hidden_layers * layer_matrices + embedding,
          c.num_hidden_layers * (layer_biases + 2 * norm) + norm + positions + (c.tie_word_embeddings ? 0 : embedding)};
}

}  // namespace

int64_t parameter_count(const ModelConfig& config) {
  const Counts counts = count(config);
  return counts.matrix_weights + counts.other;
}

double flops_per_token(const ModelConfig& config, int64_t sequence_length) {
  const double attention = 12.0 * static_cast<double>(config.num_hidden_layers * config.num_attention_heads) *
                           static_cast<double>(config.head_dim * sequence_length);
  return 6.0 * static_cast<double>(count(config).matrix_weights) + attention;
}

}  // namespace trident
