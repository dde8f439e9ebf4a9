#include "kernels/cuda/attention.h"
#include "kernels/dispatch.h"

namespace trident::cuda {

void attention_forward(const Stream&, const AttentionShape&, const Tensor&, Tensor&, Tensor&) {
  throw_without_cuda("attention_forward");
}
void attention_backward(const Stream&, const AttentionShape&, const Tensor&, const Tensor&, const Tensor&,
                        const Tensor&, Tensor&) {
  throw_without_cuda("attention_backward");
}
void attention_cached(const Stream&, const AttentionShape&, int64_t, const Tensor&, const Tensor&, const Tensor&,
                      Tensor&) {
  throw_without_cuda("attention_cached");
}

}  // namespace trident::cuda
