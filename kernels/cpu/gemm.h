#pragma once

#include <algorithm>
#include <cstdint>
#include <string>

#include "core/device.h"
#include "core/dtype.h"
#include "core/error.h"
#include "kernels/cpu/blas.h"

namespace trident::cpu {

/// bf16 operands are converted to fp32 this many elements of the inner dimension at a time.
inline constexpr int64_t kConvertedDepth = 2048;

/// A matrix C[m, n] cut into blocks, which the pool's threads multiply. A function of the sizes alone, so that no bit
/// depends on the number of threads. Small blocks occupy many threads, large ones save the library packing.
class BlockGrid {
 public:
  BlockGrid(int64_t m, int64_t n);

  struct Block {
    int64_t row, rows, column, columns;
  };
  [[nodiscard]] int64_t count() const { return down_ * across_; }
  /// Neighbours in number share the operand that is more expensive to bring into the cache.
  [[nodiscard]] Block block(int64_t index) const;

 private:
  int64_t m_, n_;
  int64_t block_rows_, block_columns_;
  int64_t down_, across_;
};

/// The products of one stream's kernels: each by the library that the stream's GemmState chose for its shape.
class Gemms {
 public:
  explicit Gemms(const Stream& stream) : state_(dynamic_cast<const GemmState*>(stream.state())) {}

  void operator()(const GemmCall<double>& call, DType /*dtype*/ = DType::fp64) const { default_.gemm(call); }
  void operator()(const GemmCall<float>& call, DType dtype = DType::fp32) const {
    const BlasLibrary* chosen = state_ ? state_->library({call.form, call.m, call.n, call.k, dtype}) : nullptr;
    (chosen != nullptr ? *chosen : default_).gemm(call);
  }
  /// Operands are bf16; C is fp32 and k-blocks are added to it in order. alpha is that of `shape`, whose a, b are
  /// unused.
  void operator()(const GemmCall<float>& shape, const bfloat16* a, const bfloat16* b) const;

 private:
  const GemmState* state_;
  const BlasLibrary& default_ = blas_libraries().front();
};

/// The keys under which Gemms looks up the blocks of a product, whose operands have these strides.
void record_gemm(GemmRecorder& recorder, const GemmKey& key, const GemmStrides& strides);
/// The keys of all blocks of BlockGrid(m, n).
void record_grid(GemmRecorder& recorder, GemmForm form, int64_t m, int64_t n, int64_t k, DType dtype);

/// What choices on this machine's processor depend on: its model, the libraries and their versions.
[[nodiscard]] std::string gemm_identity();

/// Uninitialised memory of the calling thread, 64-byte aligned, kept for the next call with the same slot; `slot`
/// names the user. Each block of work needs a bounded amount, so threads keep a bounded amount.
enum class ScratchSlot {
  converted_a,
  converted_b,
  product,
  scores,
  score_gradients,
  queries,
  keys,
  values,
  query_gradients,
  key_gradients,
  value_gradients,
  output_gradients,
  count
};
[[nodiscard]] void* thread_scratch(ScratchSlot slot, size_t bytes);

template <class T>
[[nodiscard]] T* thread_scratch(ScratchSlot slot, int64_t elements) {
  return static_cast<T*>(thread_scratch(slot, static_cast<size_t>(elements) * sizeof(T)));
}

}  // namespace trident::cpu
