#include "train/optimizer.h"

#include <cmath>

namespace trident {
namespace {

std::vector<FlatRange> decay_ranges(const ParameterStorage& storage) {
  std::vector<FlatRange> ranges;
  for (const Parameter* parameter : storage.parameters()) {
    const int64_t begin = parameter->flat_offset, end = begin + parameter->local_shape().elements();
    if (!ranges.empty() && ranges.back().end == begin && ranges.back().decays == parameter->decays())
      ranges.back().end = end;
    else
      ranges.push_back({begin, end, parameter->decays()});
  }
  return ranges;
}

Tensor zeroed_like(const Tensor& tensor) {
  if (tensor.device().kind == DeviceKind::meta)
    return HeapAllocator(tensor.device()).allocate(tensor.shape(), tensor.dtype());
  return {map_memory(tensor.bytes()), 0, tensor.shape(), tensor.dtype()};
}

}  // namespace

Optimizer::Optimizer(ParameterStorage& storage, const AdamWOptions& options)
    : storage_(storage),
      options_(options),
      ranges_(decay_ranges(storage)),
      exp_avg_(zeroed_like(storage.master())),
      exp_avg_sq_(zeroed_like(storage.master())) {}

double Optimizer::gradient_norm(const Stream& stream) const {
  // Parameter by parameter, so that the order of the sum follows the logical tensors.
  double sum = 0.0;
  for (const Parameter* parameter : storage_.parameters()) sum += sum_of_squares(stream, parameter->grad);
  return std::sqrt(sum);
}

void Optimizer::step(const Stream& stream, int64_t step, double lr, double grad_scale) {
  const AdamWStep arguments{lr, options_.beta1, options_.beta2, options_.eps, options_.weight_decay, grad_scale, step};
  Tensor master = storage_.master(), compute;
  if (storage_.values().raw() != master.raw()) compute = storage_.values();
  adamw(stream, arguments, ranges_, master, storage_.grads(), exp_avg_, exp_avg_sq_, compute);
}

double clip_scale(double norm, double max_norm) {
  // The same epsilon as torch.nn.utils.clip_grad_norm_, so that clipped runs agree to rounding.
  return max_norm > 0 && norm > max_norm ? max_norm / (norm + 1e-6) : 1.0;
}

}  // namespace trident
