#include "checkpoint/huggingface.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <fstream>
#include <map>
#include <random>

#include "checkpoint/byte_tokenizer_json.h"
#include "core/error.h"
#include "tests/scratch_dir.h"

namespace trident {
namespace {

using nlohmann::json;
using test::read_file;
using test::ScratchDir;
using test::write_file;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

ModelConfig tiny_llama(bool tied) { return {Architecture::llama, 10, 14, 2, 3, 1, 6, 17, 9, 1e-5, 1e4, 0.02, tied}; }
ModelConfig tiny_gpt2(bool tied) { return {Architecture::gpt2, 12, 20, 2, 3, 3, 4, 17, 9, 1e-5, 1e4, 0.02, tied}; }

using Weights = std::map<std::string, std::vector<float>>;

Weights random_weights(const ModelConfig& config) {
  std::mt19937 engine(7);
  std::normal_distribution<float> normal;
  Weights weights;
  for (const HuggingFaceTensor& tensor : huggingface_tensors(config)) {
    auto& values = weights[tensor.name];
    values.resize(static_cast<size_t>(tensor.shape.front() * tensor.row_size()));
    for (float& value : values) value = normal(engine);
  }
  return weights;
}

TensorSource source_of(const Weights& weights, const ModelConfig& config) {
  return [&weights, tensors = huggingface_tensors(config)](const std::string& name, int64_t row0, int64_t rows,
                                                           std::span<float> out) {
    for (const HuggingFaceTensor& tensor : tensors) {
      if (tensor.name != name) continue;
      const auto& values = weights.at(name);
      std::copy_n(values.begin() + row0 * tensor.row_size(), rows * tensor.row_size(), out.begin());
    }
  };
}

/// Writes a state dict under arbitrary names, as another program might.
void write_state(const std::filesystem::path& dir, const ModelConfig& config,
                 const std::vector<std::pair<TensorSpec, float>>& tensors) {
  std::ofstream(dir / "config.json") << make_huggingface_config({config, {}}, DType::fp32).dump();
  std::vector<TensorSpec> specs;
  specs.reserve(tensors.size());
  for (const auto& [spec, first] : tensors) specs.push_back(spec);
  SafetensorsWriter writer(dir / "model.safetensors", specs);
  for (const auto& [spec, first] : tensors) {
    std::vector<float> values(tensor_bytes(SafetensorsDType::f32, spec.shape, "") / 4);
    for (size_t i = 0; i < values.size(); ++i) values[i] = first + static_cast<float>(i);
    writer.append(spec.name, std::span<const float>(values));
  }
  writer.commit();
}

/// A state dict with every tensor of `config`, the i-th one counting up from 1000·i.
std::vector<std::pair<TensorSpec, float>> full_state(const ModelConfig& config, const std::string& prefix) {
  std::vector<std::pair<TensorSpec, float>> state;
  for (const HuggingFaceTensor& tensor : huggingface_tensors(config)) {
    const std::string name = (tensor.in_base_model ? prefix : "") + tensor.stored_name;
    if (!state.empty() && state.back().first.name == name) continue;
    const auto first = 1000.0F * static_cast<float>(state.size());
    state.push_back({{name, SafetensorsDType::f32, tensor.stored_shape}, first});
  }
  return state;
}

std::string refusal(const std::filesystem::path& dir) {
  try {
    const HuggingFaceReader reader(dir);
    return "accepted";
  } catch (const Error& error) {
    return error.what();
  }
}

class RoundTrip : public ::testing::TestWithParam<ModelConfig> {};

TEST_P(RoundTrip, ExportThenImportIsExactForAnyRows) {
  const ModelConfig& config = GetParam();
  const Weights weights = random_weights(config);
  for (const uint64_t shard_bytes : {kDefaultShardBytes, uint64_t{2000}, uint64_t{1}}) {
    const ScratchDir dir;
    HuggingFaceExport options;
    options.shard_bytes = shard_bytes;
    export_huggingface(dir / "out", config, source_of(weights, config), options);
    const HuggingFaceReader reader(dir / "out");
    EXPECT_EQ(reader.config(), config);
    EXPECT_EQ(reader.tensors().size(), weights.size());
    for (const HuggingFaceTensor& tensor : reader.tensors()) {
      const auto& expected = weights.at(tensor.name);
      const int64_t height = tensor.shape.front();
      for (const int64_t rows : {height, int64_t{1}, height / 2}) {
        for (int64_t row0 = 0; row0 + rows <= height; row0 += std::max<int64_t>(rows, 1)) {
          std::vector<float> out(static_cast<size_t>(rows * tensor.row_size()));
          reader.read(tensor.name, row0, rows, std::span<float>(out));
          const auto begin = expected.begin() + row0 * tensor.row_size();
          ASSERT_TRUE(std::equal(out.begin(), out.end(), begin)) << tensor.name << " rows " << row0 << "+" << rows;
          std::vector<double> wide(out.size());
          reader.read(tensor.name, row0, rows, std::span<double>(wide));
          ASSERT_TRUE(std::equal(wide.begin(), wide.end(), out.begin())) << tensor.name;
        }
      }
    }
  }
}

TEST_P(RoundTrip, ImportThenExportIsByteIdentical) {
  const ModelConfig& config = GetParam();
  const ScratchDir dir;
  const Weights weights = random_weights(config);
  HuggingFaceExport options;
  options.dtype = DType::bf16;
  export_huggingface(dir / "a", config, source_of(weights, config), options);
  const HuggingFaceReader reader(dir / "a");
  const auto source = [&](const std::string& name, int64_t row0, int64_t rows, std::span<float> out) {
    reader.read(name, row0, rows, out);
  };
  export_huggingface(dir / "b", reader.config(), source, options);
  for (const char* name : {"model.safetensors", "config.json", "generation_config.json"}) {
    EXPECT_EQ(read_file(dir / "a" / name), read_file(dir / "b" / name)) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(HuggingFace, RoundTrip,
                         ::testing::Values(tiny_llama(false), tiny_llama(true), tiny_gpt2(true), tiny_gpt2(false)));

TEST(HuggingFaceImport, Conv1dIsTransposedAndCutIntoQueryKeyValue) {
  ModelConfig config{Architecture::gpt2, 2, 8, 1, 1, 1, 2, 3, 4, 1e-5, 1e4, 0.02, true};
  const ScratchDir dir;
  auto state = full_state(config, "transformer.");
  for (auto& [spec, first] : state) {
    if (spec.name.find("c_attn") != std::string::npos) first = 0;  // weight [[0 … 5], [6 … 11]], bias [0 … 5]
  }
  write_state(dir.path(), config, state);
  const HuggingFaceReader reader(dir.path());
  std::vector<float> out(4);
  reader.read("layers.0.attention.query.weight", 0, 2, std::span<float>(out));
  EXPECT_THAT(out, ElementsAre(0, 6, 1, 7));
  reader.read("layers.0.attention.value.weight", 0, 2, std::span<float>(out));
  EXPECT_THAT(out, ElementsAre(4, 10, 5, 11));
  out.resize(1);
  reader.read("layers.0.attention.key.bias", 1, 1, std::span<float>(out));
  EXPECT_THAT(out, ElementsAre(3));
}

TEST(HuggingFaceImport, PrefixBuffersAndSavedTiedHeadAreUnderstood) {
  for (const ModelConfig& config : {tiny_gpt2(true), tiny_llama(true)}) {
    const bool llama = config.architecture == Architecture::llama;
    for (const bool bare : {true, false}) {
      const std::string prefix = bare ? "" : llama ? "model." : "transformer.";
      const ScratchDir dir;
      auto state = full_state(config, prefix);
      const TensorSpec embedding = state.front().first;
      state.push_back({{"lm_head.weight", embedding.dtype, embedding.shape}, 0});
      const std::string layer = prefix + (llama ? "layers.1." : "h.1.");
      state.push_back(
          {{layer + (llama ? "self_attn.rotary_emb.inv_freq" : "attn.bias"), SafetensorsDType::f32, {3}}, 0});
      write_state(dir.path(), config, state);
      EXPECT_EQ(refusal(dir.path()), "accepted");

      state[state.size() - 2].second = 1;  // a head that is not the embedding
      write_state(dir.path(), config, state);
      EXPECT_THAT(refusal(dir.path()), HasSubstr("tensor lm_head.weight: differs"));
    }
  }
}

TEST(HuggingFaceImport, WrongTensorsAreNamed) {
  for (const ModelConfig& config : {tiny_gpt2(false), tiny_llama(false)}) {
    const auto state = full_state(config, config.architecture == Architecture::llama ? "model." : "transformer.");
    for (size_t i = 0; i < state.size(); ++i) {
      const ScratchDir dir;
      const std::string name = state[i].first.name;
      auto changed = state;
      changed.erase(changed.begin() + static_cast<std::ptrdiff_t>(i));
      write_state(dir.path(), config, changed);
      EXPECT_THAT(refusal(dir.path()), HasSubstr("tensor " + name + " is missing"));

      changed = state;
      changed[i].first.shape.front() += 1;
      write_state(dir.path(), config, changed);
      EXPECT_THAT(refusal(dir.path()), HasSubstr("tensor " + name + ": shape is"));

      changed = state;
      changed[i].first.shape.push_back(1);
      write_state(dir.path(), config, changed);
      EXPECT_THAT(refusal(dir.path()), HasSubstr("tensor " + name + ": shape is"));
    }
    const ScratchDir dir;
    auto changed = state;
    changed.push_back({{"score.weight", SafetensorsDType::f32, {2}}, 0});
    write_state(dir.path(), config, changed);
    EXPECT_THAT(refusal(dir.path()), HasSubstr("tensor score.weight: config.json describes no such tensor"));
  }
}

TEST(HuggingFaceImport, MissingFilesAreNamed) {
  const ScratchDir dir;
  EXPECT_THAT(refusal(dir.path()), HasSubstr("config.json"));
  write_file(dir / "config.json", R"({"model_type":"llama"})");
  EXPECT_THAT(refusal(dir.path()), HasSubstr("neither model.safetensors"));
  write_file(dir / "config.json", R"({"model_type":"llama","model_type":"gpt2"})");
  EXPECT_THAT(refusal(dir.path()), HasSubstr("key model_type appears twice"));
}

TEST(HuggingFaceExport, NeverReplacesUnlessAllowed) {
  const ScratchDir dir;
  const ModelConfig config = tiny_llama(true);
  const Weights weights = random_weights(config);
  std::filesystem::create_directories(dir / "out");
  export_huggingface(dir / "out/", config, source_of(weights, config));  // an empty directory is fine
  write_file(dir / "out" / "mine.txt", "keep");
  EXPECT_THROW(export_huggingface(dir / "out", config, source_of(weights, config)), Error);
  EXPECT_EQ(read_file(dir / "out" / "mine.txt"), "keep");
  HuggingFaceExport options;
  options.overwrite = true;
  export_huggingface(dir / "out", config, source_of(weights, config), options);
  EXPECT_FALSE(std::filesystem::exists(dir / "out" / "mine.txt"));
  EXPECT_EQ(refusal(dir / "out"), "accepted");
}

TEST(HuggingFaceExport, AFailureLeavesNothingBehind) {
  const ScratchDir dir;
  const ModelConfig config = tiny_gpt2(true);
  const auto failing = [](const std::string& name, int64_t, int64_t, std::span<float>) {
    if (name == "final_norm.bias") throw Error(ErrorCode::io, "test", "the disk is gone");
  };
  EXPECT_THROW(export_huggingface(dir / "out", config, failing), Error);
  EXPECT_TRUE(std::filesystem::is_empty(dir.path()));
}

TEST(HuggingFaceExport, TokenizerFilesComeAlong) {
  const ScratchDir dir;
  const ModelConfig config = tiny_llama(true);
  const Weights weights = random_weights(config);
  write_file(dir / "merges.txt", "a b\n");
  HuggingFaceExport options;
  options.tokenizer_files = {dir / "merges.txt"};
  options.byte_tokenizer = true;
  options.special_tokens = {1, {2}};
  export_huggingface(dir / "out", config, source_of(weights, config), options);
  EXPECT_EQ(read_file(dir / "out" / "merges.txt"), "a b\n");
  EXPECT_EQ(json::parse(read_file(dir / "out" / "generation_config.json")).at("eos_token_id"), 2);
  const json vocabulary = json::parse(read_file(dir / "out" / "tokenizer.json")).at("model").at("vocab");
  EXPECT_EQ(vocabulary.size(), 256U);
  EXPECT_EQ(vocabulary.at("A"), 65);
  EXPECT_EQ(vocabulary.at("\u0120"), 32);  // the space, as byte-level tokenizers write it
  EXPECT_EQ(vocabulary.at("\u010a"), 10);  // the line feed
  EXPECT_EQ(vocabulary.at("\u00ff"), 255);
}

}  // namespace
}  // namespace trident
