#include "checkpoint/huggingface_names.h"

#include <fmt/format.h>

#include <utility>

namespace trident {
namespace {

class List {
 public:
  /// A tensor that is stored as it is.
  void same(const std::string& name, std::vector<int64_t> shape, const std::string& stored) {
    HuggingFaceTensor tensor;
    tensor.name = name;
    tensor.shape = shape;
    tensor.stored_name = stored;
    tensor.stored_shape = std::move(shape);
    tensors.push_back(std::move(tensor));
  }

  /// A norm of GPT-2: gain and bias.
  void norm(const std::string& name, int64_t size, const std::string& stored) {
    same(name + ".weight", {size}, stored + ".weight");
    same(name + ".bias", {size}, stored + ".bias");
  }

  /// GPT-2's Conv1D, [in, out], with its bias; several linear layers of `out` rows each may share one.
  void conv1d(const std::vector<std::string>& names, int64_t out, int64_t in, const std::string& stored) {
    const auto total = static_cast<int64_t>(names.size()) * out;
    for (size_t i = 0; i < names.size(); ++i) {
      part(names[i] + ".weight", {out, in}, stored + ".weight", {in, total}, static_cast<int64_t>(i) * out);
      tensors.back().transposed = true;
    }
    for (size_t i = 0; i < names.size(); ++i) {
      part(names[i] + ".bias", {out}, stored + ".bias", {total}, static_cast<int64_t>(i) * out);
    }
  }

  void head(const ModelConfig& config) {
    if (config.tie_word_embeddings) return;
    same("head.weight", {config.vocab_size, config.hidden_size}, "lm_head.weight");
    tensors.back().in_base_model = false;
  }

  std::vector<HuggingFaceTensor> tensors;

 private:
  void part(const std::string& name, std::vector<int64_t> shape, const std::string& stored,
            std::vector<int64_t> stored_shape, int64_t first_row) {
    same(name, std::move(shape), stored);
    tensors.back().stored_shape = std::move(stored_shape);
    tensors.back().first_row = first_row;
  }
};

void add_llama_layer(List& list, const ModelConfig& config, int64_t layer) {
  const int64_t d = config.hidden_size;
  const int64_t f = config.intermediate_size;
  const int64_t queries = config.num_attention_heads * config.head_dim;
  const int64_t keys = config.num_key_value_heads * config.head_dim;
  const std::string at = fmt::format("layers.{}.", layer);  // the same in both
  list.same(at + "attention_norm.weight", {d}, at + "input_layernorm.weight");
  list.same(at + "attention.query.weight", {queries, d}, at + "self_attn.q_proj.weight");
  list.same(at + "attention.key.weight", {keys, d}, at + "self_attn.k_proj.weight");
  list.same(at + "attention.value.weight", {keys, d}, at + "self_attn.v_proj.weight");
  list.same(at + "attention.output.weight", {d, queries}, at + "self_attn.o_proj.weight");
  list.same(at + "mlp_norm.weight", {d}, at + "post_attention_layernorm.weight");
  list.same(at + "mlp.gate.weight", {f, d}, at + "mlp.gate_proj.weight");
  list.same(at + "mlp.up.weight", {f, d}, at + "mlp.up_proj.weight");
  list.same(at + "mlp.down.weight", {d, f}, at + "mlp.down_proj.weight");
}

void add_gpt2_layer(List& list, const ModelConfig& config, int64_t layer) {
  const int64_t d = config.hidden_size;
  const int64_t f = config.intermediate_size;
  const std::string at = fmt::format("layers.{}.", layer);
  const std::string stored = fmt::format("h.{}.", layer);
  const std::string attention = at + "attention.";
  list.norm(at + "attention_norm", d, stored + "ln_1");
  list.conv1d({attention + "query", attention + "key", attention + "value"}, d, d, stored + "attn.c_attn");
  list.conv1d({attention + "output"}, d, d, stored + "attn.c_proj");
  list.norm(at + "mlp_norm", d, stored + "ln_2");
  list.conv1d({at + "mlp.up"}, f, d, stored + "mlp.c_fc");
  list.conv1d({at + "mlp.down"}, d, f, stored + "mlp.c_proj");
}

}  // namespace

std::vector<HuggingFaceTensor> huggingface_tensors(const ModelConfig& config) {
  List list;
  const int64_t d = config.hidden_size;
  const bool llama = config.architecture == Architecture::llama;
  list.same("embedding.weight", {config.vocab_size, d}, llama ? "embed_tokens.weight" : "wte.weight");
  if (!llama) list.same("position_embedding.weight", {config.max_position_embeddings, d}, "wpe.weight");
  for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    llama ? add_llama_layer(list, config, layer) : add_gpt2_layer(list, config, layer);
  }
  if (llama) {
    list.same("final_norm.weight", {d}, "norm.weight");
  } else {
    list.norm("final_norm", d, "ln_f");
  }
  list.head(config);
  return std::move(list.tensors);
}

std::string_view base_model_prefix(Architecture architecture) {
  return architecture == Architecture::llama ? "model." : "transformer.";
}

bool is_huggingface_buffer(Architecture architecture, std::string_view stored_name) {
  if (architecture == Architecture::llama) return stored_name.ends_with(".rotary_emb.inv_freq");
  return stored_name.ends_with(".attn.bias") || stored_name.ends_with(".attn.masked_bias");
}

}  // namespace trident
