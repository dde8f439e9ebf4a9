#pragma once

#include <bit>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/parameter.h"
#include "parallel/data/reduction_tree.h"

/// What the tests of parallel/data share: a model that is nothing but parameters, and made-up gradients.
namespace trident::testing {

inline Parameter toy_parameter(const std::string& name, Shape shape) {
  Parameter parameter;
  parameter.name = name;
  parameter.global_shape = shape;
  parameter.initializer = Initializer::normal(0.5);
  return parameter;
}

/// Matrices and gains of odd sizes, in groups of one and of three. 9 thousand elements.
class ToyModel {
 public:
  explicit ToyModel(DType compute) {
    add({toy_parameter("embedding", {37, 19})});
    add({toy_parameter("gain", {17})});
    add({toy_parameter("query", {21, 24}), toy_parameter("key", {5, 24}), toy_parameter("value", {5, 24})});
    add({toy_parameter("bias", {1})});
    add({toy_parameter("head", {111, 64})});
    for (const auto& group : groups_) pointers_.push_back(group.get());
    storage_ = std::make_unique<ParameterStorage>(pointers_, compute, Device::cpu());
  }

  [[nodiscard]] const std::vector<ParameterGroup*>& groups() const { return pointers_; }
  [[nodiscard]] ParameterStorage& storage() { return *storage_; }

 private:
  void add(std::vector<Parameter> members) { groups_.push_back(std::make_unique<ParameterGroup>(std::move(members))); }

  std::vector<std::unique_ptr<ParameterGroup>> groups_;
  std::vector<ParameterGroup*> pointers_;
  std::unique_ptr<ParameterStorage> storage_;
};

/// Of many magnitudes, so that the order of a sum shows in its bits. A pure function of its arguments.
struct MadeUpGradient {
  uint64_t step = 0;
  bool from_bf16 = false;

  [[nodiscard]] double operator()(int shard, int microbatch, int64_t element) const {
    uint64_t x = (step * 1000003 + static_cast<uint64_t>(shard * 100 + microbatch)) * 0x9e3779b97f4a7c15u +
                 static_cast<uint64_t>(element);
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    x ^= x >> 31;
    const double mantissa = static_cast<double>(x >> 11) * 0x1p-53 - 0.5;
    const double value = mantissa * static_cast<double>(1u << (x & 7));
    return from_bf16 ? static_cast<double>(static_cast<float>(bfloat16(static_cast<float>(value)))) : value;
  }
};

/// Later shards have more microbatches.
inline int microbatches_of(int shard) { return 1 + shard % 3; }

/// grads[i] += one microbatch's gradient, for the elements of all parameters.
template <class T>
void add_microbatch(const ParameterStorage& storage, const MadeUpGradient& gradient, int shard, int microbatch,
                    T* grads) {
  for (const Parameter* parameter : storage.parameters()) {
    const int64_t end = parameter->flat_offset + parameter->local_shape().elements();
    for (int64_t i = parameter->flat_offset; i < end; ++i) {
      grads[i] += static_cast<T>(gradient(shard, microbatch, i));
    }
  }
}

inline void add_microbatch(const ParameterStorage& storage, const MadeUpGradient& gradient, int shard, int microbatch,
                           const Tensor& grads) {
  if (grads.dtype() == DType::fp64)
    add_microbatch(storage, gradient, shard, microbatch, grads.data<double>());
  else
    add_microbatch(storage, gradient, shard, microbatch, grads.data<float>());
}

inline void add_microbatch(ParameterStorage& storage, const MadeUpGradient& gradient, int shard, int microbatch) {
  add_microbatch(storage, gradient, shard, microbatch, storage.grads());
}

/// The reduction tree once more, in words of one syllable: halves of which the left one is the largest power of two.
template <class T>
std::vector<T> reference_tree_sum(const std::vector<std::vector<T>>& shards, size_t begin, size_t end) {
  if (end - begin == 1) return shards[begin];
  size_t left_size = 1;
  while (2 * left_size < end - begin) left_size *= 2;
  std::vector<T> sum = reference_tree_sum(shards, begin, begin + left_size);
  const std::vector<T> right = reference_tree_sum(shards, begin + left_size, end);
  for (size_t i = 0; i < sum.size(); ++i) sum[i] = sum[i] + right[i];
  return sum;
}

/// The sums over the microbatches of every shard.
template <class T>
std::vector<std::vector<T>> shard_gradients(const ParameterStorage& storage, const MadeUpGradient& gradient,
                                            int shards) {
  std::vector<std::vector<T>> sums(static_cast<size_t>(shards));
  for (int shard = 0; shard < shards; ++shard) {
    auto& sum = sums[static_cast<size_t>(shard)];
    sum.resize(static_cast<size_t>(storage.grads().elements()));
    for (int m = 0; m < microbatches_of(shard); ++m) add_microbatch(storage, gradient, shard, m, sum.data());
  }
  return sums;
}

template <class T>
std::vector<T> values(const Tensor& tensor) {
  return {tensor.data<T>(), tensor.data<T>() + tensor.elements()};
}

/// The bits of a floating-point tensor, for comparisons in which −0 is not 0 and a NaN equals itself.
inline std::vector<unsigned char> bits(const Tensor& tensor) {
  const auto* data = static_cast<const unsigned char*>(tensor.raw());
  return {data, data + tensor.bytes()};
}

}  // namespace trident::testing
