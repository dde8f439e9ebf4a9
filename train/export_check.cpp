#include "train/export_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <span>
#include <vector>

#include "core/error.h"
#include "model/model.h"
#include "train/job_setup.h"
#include "train/weights.h"

namespace trident {
namespace {

constexpr int64_t kElementsAtOnce = int64_t{1} << 20;
constexpr int64_t kTokens = 8;

[[noreturn]] void fail(const std::string& what) {
  throw Error(ErrorCode::internal, "export", what + "; nothing is written",
              "memory or storage corrupts data: export again, and check the machine if it fails again");
}

void round_to(DType dtype, std::span<float> values) {
  if (dtype != DType::bf16) return;
  for (float& value : values) value = static_cast<float>(bfloat16(value));
}

void compare_weights(const ModelWeights& source, const HuggingFaceReader& written, DType dtype) {
  std::vector<float> expected, found;
  for (const HuggingFaceTensor& tensor : written.tensors()) {
    const int64_t height = tensor.shape.front(), width = tensor.row_size();
    const int64_t band = std::clamp<int64_t>(kElementsAtOnce / width, 1, height);
    for (int64_t row = 0; row < height; row += band) {
      const int64_t rows = std::min(band, height - row);
      expected.resize(static_cast<size_t>(rows * width));
      found.resize(expected.size());
      source.read(tensor.name, row, rows, std::span(expected));
      written.read(tensor.name, row, rows, std::span(found));
      round_to(dtype, expected);
      if (std::memcmp(expected.data(), found.data(), expected.size() * sizeof(float)) != 0)
        fail(fmt::format("{}, rows {} to {}, reads back otherwise than it was written", tensor.name, row,
                         row + rows - 1));
    }
  }
}

// Of tokens spread over the vocabulary, one behind the other: a row of logits after each.
std::vector<std::vector<float>> logits_of(const ModelWeights& weights, DType dtype, const Stream& stream) {
  const ModelConfig& config = weights.config();
  Model model(config, DType::fp32, Recompute::none, stream);
  load_weights(weights, model.storage(), stream);
  const Tensor values = model.storage().values();
  round_to(dtype, std::span(values.data<float>(), static_cast<size_t>(values.elements())));
  const int64_t count = std::min(kTokens, config.max_position_embeddings);
  auto caches = model.make_caches(count);
  HeapAllocator heap(stream.device());
  std::vector<std::vector<float>> rows;
  for (int64_t i = 0; i < count; ++i) {
    auto token = static_cast<int32_t>(i * config.vocab_size / count);
    Context context{stream, heap};
    const Tensor logits = model.forward_cached(context, Tensor::borrow(&token, {1, 1}, DType::int32), i, caches);
    rows.emplace_back(logits.data<float>(), logits.data<float>() + logits.elements());
  }
  return rows;
}

// Weights and gradients of one model at a time, and as much again for everything else.
bool fits_memory(const ModelConfig& config) {
  return static_cast<size_t>(parameter_count(config)) * 2 * sizeof(float) < available_memory() / 2;
}

// By bits: a model with NaN exports as what it is.
bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

}  // namespace

std::string check_export(const ModelWeights& source, const std::filesystem::path& written, DType dtype) {
  const HuggingFaceReader reader(written);
  compare_weights(source, reader, dtype);
  const std::string weights = dtype == DType::fp32 ? "weights equal" : "weights equal the source's rounded to bf16";
  if (!fits_memory(source.config())) return weights + "; logits not compared: the model takes too much memory";
  const Stream stream = Stream::cpu(available_cpus());
  const auto expected = logits_of(source, dtype, stream);
  const auto found = logits_of(ModelWeights(written), dtype, stream);
  for (size_t i = 0; i < expected.size(); ++i) {
    if (!same_bits(expected[i], found[i])) fail(fmt::format("the logits of token {} differ from the source's", i));
  }
  return fmt::format("{}, logits of {} tokens equal", weights, expected.size());
}

}  // namespace trident
