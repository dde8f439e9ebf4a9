#include "model/generator.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace trident {
namespace {

template <class T>
std::vector<double> widen(const Tensor& tensor) {
  const T* data = tensor.data<T>();
  std::vector<double> values(static_cast<size_t>(tensor.elements()));
  for (size_t i = 0; i < values.size(); ++i) {
    if constexpr (std::is_same_v<T, bfloat16>)
      values[i] = static_cast<double>(static_cast<float>(data[i]));
    else
      values[i] = static_cast<double>(data[i]);
  }
  return values;
}

std::vector<double> to_doubles(const Tensor& tensor) {
  switch (tensor.dtype()) {
    case DType::fp64: return widen<double>(tensor);
    case DType::fp32: return widen<float>(tensor);
    case DType::bf16: return widen<bfloat16>(tensor);
    case DType::int32: break;
  }
  TRIDENT_CHECK(false, "logits are floating-point");
  return {};
}

void check_prompt(std::span<const int32_t> prompt, int64_t vocabulary) {
  if (prompt.empty())
    throw Error(ErrorCode::usage, "generate", "the prompt has no tokens", "give --prompt or --ids at least one");
  for (const int32_t token : prompt) {
    if (token < 0 || token >= vocabulary) {
      throw Error(ErrorCode::usage, "generate",
                  fmt::format("token {} of the prompt is outside the model's vocabulary of {}", token, vocabulary));
    }
  }
}

}  // namespace

Generator::Generator(const Model& model, Stream stream)
    : model_(model), stream_(std::move(stream)), caches_(model.make_caches(model.config().max_position_embeddings)) {}

std::vector<double> Generator::next_logits(std::vector<int32_t>& window) {
  const int64_t capacity = model_.config().max_position_embeddings;
  if (std::ssize(window) > capacity) {
    window.erase(window.begin(), window.end() - std::max<int64_t>(1, capacity / 2));
    cached_ = 0;
  }
  HeapAllocator heap(stream_.device());
  Context context{stream_, heap};
  const int64_t fresh = std::ssize(window) - cached_;
  const Tensor ids = Tensor::borrow(window.data() + cached_, {1, fresh}, DType::int32);
  Tensor tokens = ids;
  if (stream_.device().kind == DeviceKind::cuda) {
    tokens = heap.allocate(ids.shape(), ids.dtype());
    copy(stream_, ids, tokens);
  }
  const Tensor logits = model_.forward_cached(context, tokens, cached_, caches_);
  cached_ = std::ssize(window);
  return to_doubles(to_host(stream_, logits));
}

std::vector<int32_t> Generator::generate(std::span<const int32_t> prompt, int64_t count, const SamplingOptions& options,
                                         const std::function<bool(int32_t)>& visit) {
  check_prompt(prompt, model_.config().vocab_size);
  std::vector<int32_t> window(prompt.begin(), prompt.end()), generated;
  cached_ = 0;
  for (int64_t i = 0; i < count; ++i) {
    const int32_t token = sample_token(next_logits(window), options, static_cast<uint64_t>(i));
    generated.push_back(token);
    window.push_back(token);
    if (visit && !visit(token)) break;
  }
  return generated;
}

}  // namespace trident
