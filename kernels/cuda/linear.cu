#include "kernels/cuda/linear.h"
#include "kernels/dispatch.h"

namespace trident::cuda {

void linear_forward(const Stream&, const Tensor&, const Tensor&, const Tensor&, Tensor&) {
  throw_without_cuda("linear_forward");
}
void linear_backward_input(const Stream&, const Tensor&, const Tensor&, Tensor&) {
  throw_without_cuda("linear_backward_input");
}
void linear_backward_weight(const Stream&, const Tensor&, const Tensor&, Tensor&, Tensor&) {
  throw_without_cuda("linear_backward_weight");
}

}  // namespace trident::cuda
