#include "kernels/cuda/embedding.h"
#include "kernels/dispatch.h"

namespace trident::cuda {

void embedding_forward(const Stream&, const Tensor&, const Tensor&, const Tensor&, int64_t, Tensor&, TableShard) {
  throw_without_cuda("embedding_forward");
}
void embedding_backward(const Stream&, const Tensor&, const Tensor&, Tensor&, Tensor&, TableShard) {
  throw_without_cuda("embedding_backward");
}

}  // namespace trident::cuda
