#include "kernels/cuda/attention.h"

#include "kernels/cuda/attention_plain.h"

namespace trident::cuda {

void attention_forward(const Stream& stream, const AttentionShape& shape, const Tensor& qkv, Tensor& out, Tensor& lse) {
  plain_attention_forward(stream, shape, qkv, out, lse);
}

void attention_backward(const Stream& stream, const AttentionShape& shape, const Tensor& qkv, const Tensor& out,
                        const Tensor& lse, const Tensor& dout, Tensor& dqkv) {
  plain_attention_backward(stream, shape, qkv, out, lse, dout, dqkv);
}

void attention_cached(const Stream& stream, const AttentionShape& shape, int64_t first_position, const Tensor& qkv,
                      const Tensor& keys, const Tensor& values, Tensor& out) {
  plain_attention_cached(stream, shape, first_position, qkv, keys, values, out);
}

}  // namespace trident::cuda
