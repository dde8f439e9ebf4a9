// Chooses the implementation of a call.
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <initializer_list>
#include <iterator>
#include <span>

#include "kernels/cuda/attention.h"
#include "kernels/cuda/attention_cudnn.h"
#include "kernels/cuda/attention_flash.h"
#include "kernels/cuda/attention_plain.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/state.h"

namespace trident::cuda {
namespace {

struct Implementation {
  AttentionKernel kernel;
  bool (*supports)(const Stream&, const AttentionShape&, DType, AttentionPass);
  decltype(&attention_forward) forward;
  decltype(&attention_backward) backward;
};

bool plain_supports(const Stream& /*stream*/, const AttentionShape& shape, DType dtype, AttentionPass /*pass*/) {
  return dtype != DType::int32 && shape.head_dim <= 256;
}

bool flash_supports(const Stream& /*stream*/, const AttentionShape& shape, DType dtype, AttentionPass /*pass*/) {
  return flash_attention_supports(shape, dtype);
}

constexpr Implementation kImplementations[] = {
    {AttentionKernel::flash, flash_supports, flash_attention_forward, flash_attention_backward},
    {AttentionKernel::wgmma, flash_supports, flash_attention_forward_wgmma, flash_attention_backward_wgmma},
    {AttentionKernel::cudnn, cudnn_attention_supports, cudnn_attention_forward, cudnn_attention_backward},
    {AttentionKernel::plain, plain_supports, plain_attention_forward, plain_attention_backward},
};

/// What `automatic` takes, the first that supports a call, as timed on an H200 (docs/measurements/gpu.md).
std::span<const AttentionKernel> fastest_first(const AttentionShape& shape, AttentionPass pass, bool repeatable) {
  using enum AttentionKernel;
  static constexpr AttentionKernel kForward[] = {cudnn, wgmma};
  static constexpr AttentionKernel kNarrowBackward[] = {cudnn, flash};
  // cuDNN's repeatable backward pass writes all scores' gradients.
  static constexpr AttentionKernel kWideBackward[] = {wgmma};
  if (pass == AttentionPass::forward) return kForward;
  if (shape.head_dim == 128 && repeatable) return kWideBackward;
  return kNarrowBackward;
}

std::atomic<AttentionKernel> chosen_kernel = AttentionKernel::automatic;

const Implementation* find(AttentionKernel kernel) {
  const auto* const found =
      std::find_if(std::begin(kImplementations), std::end(kImplementations),
                   [&](const Implementation& implementation) { return implementation.kernel == kernel; });
  return found == std::end(kImplementations) ? nullptr : found;
}

/// For a call on tensors that begin at `pointers`. Only the plain kernel takes what is not 16-byte aligned.
const Implementation& implementation_for(AttentionPass pass, const Stream& stream, const AttentionShape& shape,
                                         DType dtype, std::initializer_list<const void*> pointers) {
  const bool in_packs = aligned(pointers);
  const AttentionKernel chosen = chosen_kernel;
  const auto usable = [&](AttentionKernel kernel) {
    const Implementation* const implementation = find(kernel);
    return in_packs && implementation != nullptr && implementation->supports(stream, shape, dtype, pass);
  };
  if (chosen != AttentionKernel::automatic) return *find(usable(chosen) ? chosen : AttentionKernel::plain);
  for (const AttentionKernel kernel : fastest_first(shape, pass, state_of(stream).repeatable())) {
    if (usable(kernel)) return *find(kernel);
  }
  return *find(AttentionKernel::plain);
}

}  // namespace

void allow_unrepeatable_attention(const Stream& stream) { state_of(stream).allow_unrepeatable(); }

void use_attention_kernel(AttentionKernel kernel) { chosen_kernel = kernel; }

bool attention_kernel_supports(AttentionKernel kernel, const Stream& stream, const AttentionShape& shape, DType dtype) {
  const Implementation* const implementation = find(kernel);
  return implementation != nullptr && implementation->supports(stream, shape, dtype, AttentionPass::forward) &&
         implementation->supports(stream, shape, dtype, AttentionPass::backward);
}

void attention_forward(const Stream& stream, const AttentionShape& shape, const Tensor& qkv, Tensor& out, Tensor& lse) {
  implementation_for(AttentionPass::forward, stream, shape, qkv.dtype(), {qkv.raw(), out.raw(), lse.raw()})
      .forward(stream, shape, qkv, out, lse);
}

void attention_backward(const Stream& stream, const AttentionShape& shape, const Tensor& qkv, const Tensor& out,
                        const Tensor& lse, const Tensor& dout, Tensor& dqkv) {
  implementation_for(AttentionPass::backward, stream, shape, qkv.dtype(),
                     {qkv.raw(), out.raw(), lse.raw(), dout.raw(), dqkv.raw()})
      .backward(stream, shape, qkv, out, lse, dout, dqkv);
}

void attention_cached(const Stream& stream, const AttentionShape& shape, int64_t first_position, const Tensor& qkv,
                      const Tensor& keys, const Tensor& values, Tensor& out) {
  plain_attention_cached(stream, shape, first_position, qkv, keys, values, out);
}

}  // namespace trident::cuda
