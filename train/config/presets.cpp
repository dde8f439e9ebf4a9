#include "train/config/presets.h"

#include <array>

namespace trident::config {
namespace {

struct Preset {
  std::string_view name;
  ModelConfig model;
};

ModelConfig gpt2(int64_t hidden, int64_t layers, int64_t heads) {
  return {.architecture = Architecture::gpt2,
          .hidden_size = hidden,
          .num_hidden_layers = layers,
          .num_attention_heads = heads,
          .vocab_size = 50257,
          .max_position_embeddings = 1024,
          .norm_eps = 1e-5,
          .tie_word_embeddings = true};
}

struct LlamaSizes {
  int64_t hidden, intermediate, layers, heads, key_value_heads, vocab, positions;  // key_value_heads 0: heads
  double eps, theta;
};

ModelConfig llama(const LlamaSizes& sizes) {
  return {.architecture = Architecture::llama,
          .hidden_size = sizes.hidden,
          .intermediate_size = sizes.intermediate,
          .num_hidden_layers = sizes.layers,
          .num_attention_heads = sizes.heads,
          .num_key_value_heads = sizes.key_value_heads,
          .vocab_size = sizes.vocab,
          .max_position_embeddings = sizes.positions,
          .norm_eps = sizes.eps,
          .rope_theta = sizes.theta};
}

// Radford et al. 2019 (with the parameter counts of the released weights), Touvron et al. 2023 (two papers), and the
// Llama 3 herd, 2024; vocabulary, positions and epsilon as in the released config.json files.
const std::array<Preset, 11>& presets() {
  static const std::array<Preset, 11> kPresets = {{
      {"llama-tiny", llama({128, 352, 4, 4, 2, 256, 256, 1e-5, 1e4})},
      {"gpt2-124m", gpt2(768, 12, 12)},
      {"gpt2-350m", gpt2(1024, 24, 16)},
      {"gpt2-774m", gpt2(1280, 36, 20)},
      {"gpt2-1558m", gpt2(1600, 48, 25)},
      {"llama-7b", llama({4096, 11008, 32, 32, 0, 32000, 2048, 1e-6, 1e4})},
      {"llama-13b", llama({5120, 13824, 40, 40, 0, 32000, 2048, 1e-6, 1e4})},
      {"llama-2-70b", llama({8192, 28672, 80, 64, 8, 32000, 4096, 1e-5, 1e4})},
      {"llama-3-8b", llama({4096, 14336, 32, 32, 8, 128256, 8192, 1e-5, 5e5})},
      {"llama-3-70b", llama({8192, 28672, 80, 64, 8, 128256, 8192, 1e-5, 5e5})},
      {"llama-3.1-405b", llama({16384, 53248, 126, 128, 8, 128256, 131072, 1e-5, 5e5})},
  }};
  return kPresets;
}

}  // namespace

std::optional<ModelConfig> find_preset(std::string_view name) {
  for (const auto& preset : presets()) {
    if (preset.name == name) return preset.model;
  }
  return std::nullopt;
}

std::vector<std::string> preset_names() {
  std::vector<std::string> names;
  for (const auto& preset : presets()) names.emplace_back(preset.name);
  return names;
}

}  // namespace trident::config
