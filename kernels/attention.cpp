#include "kernels/attention.h"

#include "core/error.h"
#include "kernels/cpu/attention.h"
#include "kernels/cuda/attention.h"
#include "kernels/gemm_tuning.h"

namespace trident {
namespace {

/// `tensor` has as many elements as rows of `columns` in the whole call.
void check_rows(const AttentionShape& shape, const Tensor& tensor, int64_t columns, DType dtype) {
  TRIDENT_CHECK(tensor.elements() == shape.batch * shape.sequence * columns && tensor.dtype() == dtype,
                tensor.shape().to_string() + " in attention");
}

void check_shape(const AttentionShape& shape, const Tensor& qkv) {
  TRIDENT_CHECK(shape.heads > 0 && shape.kv_heads > 0 && shape.heads % shape.kv_heads == 0,
                "query heads are shared evenly by key-value heads");
  TRIDENT_CHECK(shape.head_dim > 0 && shape.batch >= 0 && shape.sequence >= 0);
  check_rows(shape, qkv, shape.qkv_columns(), qkv.dtype());
}

void check_cache(const AttentionShape& shape, int64_t first_position, const Tensor& cache, DType dtype) {
  TRIDENT_CHECK(cache.shape().rank() >= 3 && cache.dim(0) == shape.batch && cache.dtype() == dtype &&
                    cache.elements() == cache.dim(0) * cache.dim(1) * shape.kv_heads * shape.head_dim,
                "cache is " + cache.shape().to_string());
  TRIDENT_CHECK(first_position >= 0 && first_position + shape.sequence <= cache.dim(1), "the cache is too short");
}

/// What records a dry run's products; null where the real run's device multiplies without them.
GemmRecorder* cpu_recorder(const Stream& stream) {
  auto* recorder = dynamic_cast<GemmRecorder*>(stream.state());
  return recorder != nullptr && recorder->target() == DeviceKind::cpu ? recorder : nullptr;
}

}  // namespace

void attention_forward(const Stream& stream, const AttentionShape& shape, const Tensor& qkv, Tensor& out, Tensor& lse) {
  check_shape(shape, qkv);
  check_rows(shape, out, shape.heads * shape.head_dim, qkv.dtype());
  check_rows(shape, lse, shape.heads, accumulation_dtype(qkv.dtype()));
  switch (stream.device().kind) {
    case DeviceKind::meta:
      if (auto* recorder = cpu_recorder(stream)) {
        cpu::record_attention_forward(*recorder, shape, qkv.dtype());
      }
      return;
    case DeviceKind::cpu: return cpu::attention_forward(stream, shape, qkv, out, lse);
    case DeviceKind::cuda: return cuda::attention_forward(stream, shape, qkv, out, lse);
  }
}

void attention_backward(const Stream& stream, const AttentionShape& shape, const Tensor& qkv, const Tensor& out,
                        const Tensor& lse, const Tensor& dout, Tensor& dqkv) {
  check_shape(shape, qkv);
  check_shape(shape, dqkv);
  check_rows(shape, out, shape.heads * shape.head_dim, qkv.dtype());
  check_rows(shape, dout, shape.heads * shape.head_dim, qkv.dtype());
  check_rows(shape, lse, shape.heads, accumulation_dtype(qkv.dtype()));
  switch (stream.device().kind) {
    case DeviceKind::meta:
      if (auto* recorder = cpu_recorder(stream)) {
        cpu::record_attention_backward(*recorder, shape, qkv.dtype());
      }
      return;
    case DeviceKind::cpu: return cpu::attention_backward(stream, shape, qkv, out, lse, dout, dqkv);
    case DeviceKind::cuda: return cuda::attention_backward(stream, shape, qkv, out, lse, dout, dqkv);
  }
}

void allow_unrepeatable_attention(const Stream& stream) {
  if (stream.device().kind == DeviceKind::cuda) cuda::allow_unrepeatable_attention(stream);
}

void attention_cached(const Stream& stream, const AttentionShape& shape, int64_t first_position, const Tensor& qkv,
                      const Tensor& keys, const Tensor& values, Tensor& out) {
  check_shape(shape, qkv);
  check_rows(shape, out, shape.heads * shape.head_dim, qkv.dtype());
  check_cache(shape, first_position, keys, qkv.dtype());
  check_cache(shape, first_position, values, qkv.dtype());
  TRIDENT_CHECK(keys.shape() == values.shape(), "keys and values of different capacity");
  switch (stream.device().kind) {
    case DeviceKind::meta: return;
    case DeviceKind::cpu: return cpu::attention_cached(stream, shape, first_position, qkv, keys, values, out);
    case DeviceKind::cuda: return cuda::attention_cached(stream, shape, first_position, qkv, keys, values, out);
  }
}

}  // namespace trident
