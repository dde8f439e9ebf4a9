#include "kernels/cuda/activation.h"
#include "kernels/cuda/attention.h"
#include "kernels/cuda/cross_entropy.h"
#include "kernels/cuda/elementwise.h"
#include "kernels/cuda/embedding.h"
#include "kernels/cuda/linear.h"
#include "kernels/cuda/norm.h"
#include "kernels/cuda/optimizer.h"
#include "kernels/cuda/rope.h"
#include "kernels/cuda/tree_sum.h"
#include "kernels/cuda/tune_gemms.h"
#include "kernels/dispatch.h"

// In place of kernels/cuda in a build without CUDA.
namespace trident::cuda {

void swiglu_forward(const Stream&, const Tensor&, Tensor&) { throw_without_cuda("swiglu_forward"); }
void swiglu_backward(const Stream&, const Tensor&, const Tensor&, Tensor&, Tensor&) {
  throw_without_cuda("swiglu_backward");
}
void gelu_forward(const Stream&, const Tensor&, Tensor&) { throw_without_cuda("gelu_forward"); }
void gelu_backward(const Stream&, const Tensor&, const Tensor&, Tensor&, Tensor&) {
  throw_without_cuda("gelu_backward");
}
void attention_forward(const Stream&, const AttentionShape&, const Tensor&, Tensor&, Tensor&) {
  throw_without_cuda("attention_forward");
}
void attention_backward(const Stream&, const AttentionShape&, const Tensor&, const Tensor&, const Tensor&,
                        const Tensor&, Tensor&) {
  throw_without_cuda("attention_backward");
}
void allow_unrepeatable_attention(const Stream&) { throw_without_cuda("allow_unrepeatable_attention"); }
void attention_cached(const Stream&, const AttentionShape&, int64_t, const Tensor&, const Tensor&, const Tensor&,
                      Tensor&) {
  throw_without_cuda("attention_cached");
}
void cross_entropy_statistics(const Stream&, const Tensor&, const Tensor&, int64_t, Tensor&) {
  throw_without_cuda("cross_entropy_statistics");
}
void cross_entropy_losses(const Stream&, const Tensor&, const Tensor&, int64_t, Tensor&, Tensor&) {
  throw_without_cuda("cross_entropy_losses");
}
void cross_entropy_backward(const Stream&, const Tensor&, int64_t, const Tensor&, double, Tensor&) {
  throw_without_cuda("cross_entropy_backward");
}
void sum_losses(const Stream&, const Tensor&, Tensor&) { throw_without_cuda("sum_losses"); }
void add(const Stream&, const Tensor&, const Tensor&, Tensor&) { throw_without_cuda("add"); }
void cast(const Stream&, const Tensor&, Tensor&) { throw_without_cuda("cast"); }
void embedding_forward(const Stream&, const Tensor&, const Tensor&, const Tensor&, int64_t, Tensor&, TableShard) {
  throw_without_cuda("embedding_forward");
}
void embedding_backward(const Stream&, const Tensor&, const Tensor&, Tensor&, Tensor&, TableShard) {
  throw_without_cuda("embedding_backward");
}
void require_fp8(const Stream&) { throw_without_cuda("require_fp8"); }
void linear_forward(const Stream&, const Tensor&, const Tensor&, const Tensor&, Tensor&, LinearPrecision) {
  throw_without_cuda("linear_forward");
}
void linear_backward_input(const Stream&, const Tensor&, const Tensor&, Tensor&, LinearPrecision) {
  throw_without_cuda("linear_backward_input");
}
void linear_backward_weight(const Stream&, const Tensor&, const Tensor&, Tensor&, Tensor&, LinearPrecision) {
  throw_without_cuda("linear_backward_weight");
}
void norm_forward(const Stream&, const NormWeights&, const Tensor&, const Tensor&, Tensor&, Tensor&, Tensor&) {
  throw_without_cuda("norm_forward");
}
void norm_recompute(const Stream&, const NormWeights&, const Tensor&, const Tensor&, Tensor&) {
  throw_without_cuda("norm_recompute");
}
void norm_backward(const Stream&, const NormWeights&, const Tensor&, const Tensor&, const Tensor&, const Tensor&,
                   Tensor&, Tensor&) {
  throw_without_cuda("norm_backward");
}
void adamw(const Stream&, const AdamWStep&, std::span<const FlatRange>, Tensor&, const Tensor&, Tensor&, Tensor&,
           Tensor&) {
  throw_without_cuda("adamw");
}
void add_sums_of_squares(const Stream&, const Tensor&, std::span<const FlatRange>, ExactSum&) {
  throw_without_cuda("add_sums_of_squares");
}
void rope_table(const Stream&, double, Tensor&) { throw_without_cuda("rope_table"); }
void rope(const Stream&, const AttentionShape&, const Tensor&, int64_t, RopeDirection, Tensor&) {
  throw_without_cuda("rope");
}
void tree_sum(const Stream&, DType, std::span<const std::byte* const>, std::span<const TreeAddition>, int64_t,
              std::byte*) {
  throw_without_cuda("tree_sum");
}

void follow_gemm_choices(const Stream&, const GemmChoices&) { throw_without_cuda("follow_gemm_choices"); }
GemmChoices tune_gemms(const Stream&, const GemmProducts&, const GemmChoices&, std::chrono::milliseconds) {
  throw_without_cuda("tune_gemms");
}
std::string gemm_identity(Device) { throw_without_cuda("gemm_identity"); }

}  // namespace trident::cuda
