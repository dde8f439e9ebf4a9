#include "kernels/cuda/attention_flash.cuh"
#include "kernels/cuda/state.h"

namespace trident::cuda::flash {
namespace {

constexpr int kThreads = 256;

struct RowArguments {
  Sizes sizes;
  int64_t rows;
  const Bf16* out;
  const Bf16* dout;
  const float* lse;
  float2* statistics;
};

/// A group of lanes takes a row of one head, a chunk each.
__global__ void __launch_bounds__(kThreads) rows_kernel(const RowArguments arguments) {
  const Sizes& sizes = arguments.sizes;
  const int lanes = sizes.head_dim / kChunk;
  const int64_t row = (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) / lanes;  // [batch, sequence, heads]
  const int chunk = static_cast<int>(threadIdx.x) % lanes;
  float sum = 0.0f;
  if (row < arguments.rows) {
    const auto o = reinterpret_cast<const Pack<Bf16>*>(arguments.out)[row * lanes + chunk];
    const auto d = reinterpret_cast<const Pack<Bf16>*>(arguments.dout)[row * lanes + chunk];
#pragma unroll
    for (int i = 0; i < kChunk; ++i) sum = fmaf(widen(o.values[i]), widen(d.values[i]), sum);
  }
  for (int offset = lanes / 2; offset > 0; offset /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, offset);
  if (row < arguments.rows && chunk == 0) {
    const int64_t position = row / sizes.heads, head = row % sizes.heads;
    const int64_t to = (position / sizes.sequence * sizes.heads + head) * sizes.sequence + position % sizes.sequence;
    arguments.statistics[to] = make_float2(arguments.lse[to] * kLog2E, sum);
  }
}

}  // namespace

const float2* row_statistics(const Stream& stream, const AttentionShape& shape, const Tensor& out, const Tensor& lse,
                             const Tensor& dout) {
  const int64_t rows = shape.batch * shape.heads * shape.sequence;
  auto* const statistics =
      static_cast<float2*>(state_of(stream).scratch(static_cast<size_t>(rows + kReadableRows) * sizeof(float2)));
  launch("flash_attention_backward, rows", rows_kernel, divide_up<int64_t>(rows * shape.head_dim, kThreads * kChunk),
         kThreads, 0, stream,
         RowArguments{Sizes(shape), rows, data_of<Bf16>(out), data_of<Bf16>(dout), data_of<float>(lse), statistics});
  return statistics;
}

}  // namespace trident::cuda::flash
