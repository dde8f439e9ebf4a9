#include "checkpoint/huggingface_config.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <string_view>

#include "core/error.h"

namespace trident {
namespace {

using nlohmann::json;

constexpr int64_t kLargestSize = INT32_MAX;
constexpr int64_t kMostLayers = 10'000;

std::string shown(const json& value) {
  std::string text = value.dump(-1, ' ', false, json::error_handler_t::replace);
  return text.size() <= 100 ? text : text.substr(0, 100) + "...";
}

/// Typed access to one object of the file; null counts as missing, as it does in transformers.
class Keys {
 public:
  Keys(const json& object, std::string source) : object_(object), source_(std::move(source)) {}

  const json* find(const std::string& key) const {
    const auto found = object_.find(key);
    return found == object_.end() || found->is_null() ? nullptr : &*found;
  }

  int64_t size(const std::string& key, int64_t missing, int64_t largest = kLargestSize) const {
    const json* value = find(key);
    if (value == nullptr) return missing;
    if (!value->is_number_integer() || *value < 1 || *value > largest) {
      refuse(key, shown(*value), fmt::format("a whole number from 1 to {}", largest));
    }
    return value->get<int64_t>();
  }

  double number(const std::string& key, double missing, double below = INFINITY) const {
    const json* value = find(key);
    if (value == nullptr) return missing;
    const double number = value->is_number() ? value->get<double>() : NAN;
    if (!(number > 0 && number < below)) refuse(key, shown(*value), "a positive number");
    return number;
  }

  bool flag(const std::string& key, bool missing) const {
    const json* value = find(key);
    if (value == nullptr) return missing;
    if (!value->is_boolean()) refuse(key, shown(*value), "true or false");
    return value->get<bool>();
  }

  std::string text(const std::string& key, const std::string& missing) const {
    const json* value = find(key);
    if (value == nullptr) return missing;
    if (!value->is_string()) refuse(key, shown(*value), "a string");
    return value->get<std::string>();
  }

  void must_be(const std::string& key, bool only) const {
    if (flag(key, only) != only) refuse(key, only ? "false" : "true", only ? "true" : "false");
  }

  [[noreturn]] void refuse(const std::string& key, const std::string& found, const std::string& expected) const {
    throw Error(ErrorCode::bad_data, "checkpoint/huggingface",
                fmt::format("{}: {} is {}, expected {}", source_, key, found, expected),
                "Trident does not support other settings of this key");
  }

  const std::string& source() const { return source_; }

 private:
  const json& object_;
  std::string source_;
};

int64_t token_id(const json& value, const std::string& key, const Keys& keys) {
  if (!value.is_number_integer() || value < 0 || value > kLargestSize) keys.refuse(key, shown(value), "a token id");
  return value.get<int64_t>();
}

SpecialTokens parse_special_tokens(const Keys& keys) {
  SpecialTokens tokens;
  if (const json* bos = keys.find("bos_token_id")) tokens.bos = token_id(*bos, "bos_token_id", keys);
  const json* eos = keys.find("eos_token_id");
  if (eos == nullptr) return tokens;
  const json list = eos->is_array() ? *eos : json::array({*eos});
  for (const json& value : list) tokens.eos.push_back(token_id(value, "eos_token_id", keys));
  return tokens;
}

/// Rotary settings stand at the top (`rope_theta`, `rope_scaling`) or, since transformers 5, in `rope_parameters`.
double parse_rope_theta(const Keys& keys) {
  constexpr double kDefault = 10000.0;
  const double top = keys.number("rope_theta", kDefault);
  double theta = top;
  for (const std::string name : {"rope_scaling", "rope_parameters"}) {
    const json* value = keys.find(name);
    if (value == nullptr) continue;
    if (!value->is_object()) keys.refuse(name, shown(*value), "null or an object");
    const Keys rope(*value, keys.source() + ", " + name);
    for (const std::string kind : {"rope_type", "type"}) {
      const std::string type = rope.text(kind, "default");
      if (type != "default") rope.refuse(kind, type, "default");
    }
    if (rope.number("factor", 1.0) != 1.0) rope.refuse("factor", shown(*rope.find("factor")), "1.0");
    if (rope.number("partial_rotary_factor", 1.0) != 1.0) {
      rope.refuse("partial_rotary_factor", shown(*rope.find("partial_rotary_factor")), "1.0");
    }
    theta = rope.number("rope_theta", theta);
    if (keys.find("rope_theta") != nullptr && theta != top) {
      rope.refuse("rope_theta", fmt::format("{}", theta), fmt::format("{}, as at the top of the file", top));
    }
  }
  return theta;
}

ModelConfig parse_llama(const Keys& keys) {
  ModelConfig model;
  model.architecture = Architecture::llama;
  model.hidden_size = keys.size("hidden_size", 4096);
  model.intermediate_size = keys.size("intermediate_size", 11008);
  model.num_hidden_layers = keys.size("num_hidden_layers", 32, kMostLayers);
  model.num_attention_heads = keys.size("num_attention_heads", 32);
  model.num_key_value_heads = keys.size("num_key_value_heads", model.num_attention_heads);
  model.vocab_size = keys.size("vocab_size", 32000);
  model.max_position_embeddings = keys.size("max_position_embeddings", 2048);
  model.norm_eps = keys.number("rms_norm_eps", 1e-6, 1.0);
  model.rope_theta = parse_rope_theta(keys);
  model.tie_word_embeddings = keys.flag("tie_word_embeddings", false);
  if (keys.find("head_dim") == nullptr && model.hidden_size % model.num_attention_heads != 0) {
    keys.refuse("hidden_size", std::to_string(model.hidden_size),
                fmt::format("a multiple of num_attention_heads {}", model.num_attention_heads));
  }
  model.head_dim = keys.size("head_dim", model.hidden_size / model.num_attention_heads);
  if (model.head_dim % 2 != 0) keys.refuse("head_dim", std::to_string(model.head_dim), "an even number");
  if (model.num_attention_heads % model.num_key_value_heads != 0) {
    keys.refuse("num_key_value_heads", std::to_string(model.num_key_value_heads),
                fmt::format("a divisor of num_attention_heads {}", model.num_attention_heads));
  }
  keys.must_be("attention_bias", false);
  keys.must_be("mlp_bias", false);
  if (const auto act = keys.text("hidden_act", "silu"); act != "silu") keys.refuse("hidden_act", act, "silu");
  if (keys.number("partial_rotary_factor", 1.0) != 1.0) {
    keys.refuse("partial_rotary_factor", shown(*keys.find("partial_rotary_factor")), "1.0");
  }
  return model;
}

ModelConfig parse_gpt2(const Keys& keys) {
  ModelConfig model;
  model.architecture = Architecture::gpt2;
  model.hidden_size = keys.size("n_embd", 768);
  model.intermediate_size = keys.size("n_inner", 4 * model.hidden_size, 4 * kLargestSize);
  model.num_hidden_layers = keys.size("n_layer", 12, kMostLayers);
  model.num_attention_heads = keys.size("n_head", 12);
  model.num_key_value_heads = model.num_attention_heads;
  model.vocab_size = keys.size("vocab_size", 50257);
  model.max_position_embeddings = keys.size("n_positions", 1024);
  model.norm_eps = keys.number("layer_norm_epsilon", 1e-5, 1.0);
  model.tie_word_embeddings = keys.flag("tie_word_embeddings", true);
  if (model.hidden_size % model.num_attention_heads != 0) {
    keys.refuse("n_embd", std::to_string(model.hidden_size),
                fmt::format("a multiple of n_head {}", model.num_attention_heads));
  }
  model.head_dim = model.hidden_size / model.num_attention_heads;
  const std::string activation = keys.text("activation_function", "gelu_new");
  if (activation != "gelu_new" && activation != "gelu_pytorch_tanh") {
    keys.refuse("activation_function", activation, "gelu_new or gelu_pytorch_tanh");
  }
  keys.must_be("scale_attn_weights", true);
  keys.must_be("scale_attn_by_inverse_layer_idx", false);
  keys.must_be("add_cross_attention", false);
  return model;
}

/// Models of other tasks share a model_type but have other heads.
void check_architectures(const Keys& keys, std::initializer_list<std::string_view> known) {
  const json* list = keys.find("architectures");
  if (list == nullptr) return;
  if (!list->is_array()) keys.refuse("architectures", shown(*list), "a list");
  for (const json& name : *list) {
    const bool supported =
        name.is_string() && std::find(known.begin(), known.end(), name.get_ref<const std::string&>()) != known.end();
    if (!supported) keys.refuse("architectures", shown(name), fmt::format("{}", fmt::join(known, " or ")));
  }
}

}  // namespace

HuggingFaceConfig parse_huggingface_config(const nlohmann::json& json, const std::string& source) {
  if (!json.is_object()) throw Error(ErrorCode::bad_data, "checkpoint/huggingface", source + ": expected an object");
  const Keys keys(json, source);
  if (const auto* found = keys.find("quantization_config")) keys.refuse("quantization_config", shown(*found), "null");
  HuggingFaceConfig config;
  const std::string type = keys.text("model_type", "missing");
  if (type == "llama") {
    check_architectures(keys, {"LlamaForCausalLM", "LlamaModel"});
    config.model = parse_llama(keys);
  } else if (type == "gpt2") {
    check_architectures(keys, {"GPT2LMHeadModel", "GPT2Model"});
    config.model = parse_gpt2(keys);
  } else {
    keys.refuse("model_type", type, "llama or gpt2");
  }
  config.model.initializer_range = keys.number("initializer_range", 0.02, 10.0);
  config.special_tokens = parse_special_tokens(keys);
  return config;
}

namespace {

nlohmann::ordered_json llama_config(const ModelConfig& model) {
  return {{"architectures", {"LlamaForCausalLM"}},
          {"model_type", "llama"},
          {"attention_bias", false},
          {"attention_dropout", 0.0},
          {"head_dim", model.head_dim},
          {"hidden_act", "silu"},
          {"hidden_size", model.hidden_size},
          {"intermediate_size", model.intermediate_size},
          {"max_position_embeddings", model.max_position_embeddings},
          {"mlp_bias", false},
          {"num_attention_heads", model.num_attention_heads},
          {"num_hidden_layers", model.num_hidden_layers},
          {"num_key_value_heads", model.num_key_value_heads},
          {"pretraining_tp", 1},
          {"rms_norm_eps", model.norm_eps},
          {"rope_scaling", nullptr},
          {"rope_theta", model.rope_theta}};
}

nlohmann::ordered_json gpt2_config(const ModelConfig& model) {
  nlohmann::ordered_json inner = nullptr;
  if (model.intermediate_size != 4 * model.hidden_size) inner = model.intermediate_size;
  return {{"architectures", {"GPT2LMHeadModel"}},
          {"model_type", "gpt2"},
          {"activation_function", "gelu_new"},
          {"add_cross_attention", false},
          {"attn_pdrop", 0.0},
          {"embd_pdrop", 0.0},
          {"resid_pdrop", 0.0},
          {"layer_norm_epsilon", model.norm_eps},
          {"n_embd", model.hidden_size},
          {"n_head", model.num_attention_heads},
          {"n_inner", inner},
          {"n_layer", model.num_hidden_layers},
          {"n_positions", model.max_position_embeddings},
          {"reorder_and_upcast_attn", false},
          {"scale_attn_by_inverse_layer_idx", false},
          {"scale_attn_weights", true}};
}

}  // namespace

nlohmann::ordered_json make_huggingface_config(const HuggingFaceConfig& config, DType dtype) {
  const ModelConfig& model = config.model;
  auto json = model.architecture == Architecture::llama ? llama_config(model) : gpt2_config(model);
  const SpecialTokens& tokens = config.special_tokens;
  // Written even where unknown: the families' defaults would name ids that mean something else here.
  json["bos_token_id"] = nullptr;
  if (tokens.bos) json["bos_token_id"] = *tokens.bos;
  json["eos_token_id"] = nullptr;
  if (tokens.eos.size() == 1) json["eos_token_id"] = tokens.eos.front();
  if (tokens.eos.size() > 1) json["eos_token_id"] = tokens.eos;
  json["initializer_range"] = model.initializer_range;
  json["tie_word_embeddings"] = model.tie_word_embeddings;
  json["torch_dtype"] = dtype == DType::bf16 ? "bfloat16" : "float32";
  json["use_cache"] = true;
  json["vocab_size"] = model.vocab_size;
  return json;
}

}  // namespace trident
