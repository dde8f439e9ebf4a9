#include "kernels/cuda/attention_cudnn.h"

#include "core/error.h"

// In place of kernels/cuda/attention_cudnn.cpp in a build without cuDNN's headers.
namespace trident::cuda {
namespace {

[[noreturn]] void throw_without_cudnn() {
  throw Error(ErrorCode::config, "kernels/cuda", "this build has no cuDNN",
              "configure with -DCUDNN_FRONTEND_INCLUDE_DIR");
}

}  // namespace

bool cudnn_attention_supports(const Stream& /*stream*/, const AttentionShape& /*shape*/, DType /*dtype*/,
                              AttentionPass /*pass*/) {
  return false;
}
void cudnn_attention_forward(const Stream& /*stream*/, const AttentionShape& /*shape*/, const Tensor& /*qkv*/,
                             Tensor& /*out*/, Tensor& /*lse*/) {
  throw_without_cudnn();
}
void cudnn_attention_backward(const Stream& /*stream*/, const AttentionShape& /*shape*/, const Tensor& /*qkv*/,
                              const Tensor& /*out*/, const Tensor& /*lse*/, const Tensor& /*dout*/, Tensor& /*dqkv*/) {
  throw_without_cudnn();
}

}  // namespace trident::cuda
