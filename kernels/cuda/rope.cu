#include "kernels/cuda/rope.h"
#include "kernels/dispatch.h"

namespace trident::cuda {

void rope_table(const Stream&, double, Tensor&) { throw_without_cuda("rope_table"); }
void rope(const Stream&, const AttentionShape&, const Tensor&, int64_t, RopeDirection, Tensor&) {
  throw_without_cuda("rope");
}

}  // namespace trident::cuda
