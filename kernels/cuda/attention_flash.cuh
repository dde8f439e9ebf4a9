#pragma once

#include <cmath>

#include "kernels/cuda/attention_flash.h"
#include "kernels/cuda/attention_flash_layout.h"
#include "kernels/cuda/attention_flash_ptx.cuh"
#include "kernels/cuda/launch.cuh"

/// What the flash kernels share.
namespace trident::cuda::flash {

using Bf16 = __nv_bfloat16;

inline constexpr float kLog2E = 1.4426950408889634f;

/// Sizes of one call; strides are in elements.
struct Sizes {
  explicit Sizes(const AttentionShape& shape)
      : sequence(static_cast<int>(shape.sequence)),
        heads(static_cast<int>(shape.heads)),
        kv_heads(static_cast<int>(shape.kv_heads)),
        head_dim(static_cast<int>(shape.head_dim)),
        qkv_stride(shape.qkv_columns()),
        out_stride(shape.heads * shape.head_dim),
        scale(1.0f / std::sqrt(static_cast<float>(shape.head_dim))) {}

  int sequence, heads, kv_heads, head_dim;
  int64_t qkv_stride, out_stride;
  float scale;

  /// Offset in qkv of a batch element's first row, at column block `head`: queries, then keys, then values.
  [[nodiscard]] __device__ int64_t in_qkv(int batch, int head) const {
    return static_cast<int64_t>(batch) * sequence * qkv_stride + static_cast<int64_t>(head) * head_dim;
  }
  [[nodiscard]] __device__ int64_t query_in_qkv(int batch, int head) const { return in_qkv(batch, head); }
  [[nodiscard]] __device__ int64_t key_in_qkv(int batch, int kv_head) const { return in_qkv(batch, heads + kv_head); }
  [[nodiscard]] __device__ int64_t value_in_qkv(int batch, int kv_head) const {
    return in_qkv(batch, heads + kv_heads + kv_head);
  }
  [[nodiscard]] __device__ int64_t in_out(int batch, int head) const {
    return static_cast<int64_t>(batch) * sequence * out_stride + static_cast<int64_t>(head) * head_dim;
  }
  /// Offset of a head's first row in [batch, heads, sequence].
  [[nodiscard]] __device__ int64_t in_rows(int batch, int head) const {
    return (static_cast<int64_t>(batch) * heads + head) * sequence;
  }
};

/// Starts copies of rows [first, first + kRows) of one head into a tile; zeros past the sequence.
template <int kRows, int kHeadDim, int kThreads>
__device__ __forceinline__ void load_tile(uint32_t tile, const Bf16* head, int64_t stride, int first, int sequence) {
  constexpr int kChunks = kHeadDim / kChunk, kRowsAtOnce = kThreads / kChunks;
  static_assert(kThreads % kChunks == 0 && kRows % kRowsAtOnce == 0 && kRowsAtOnce % 8 == 0);
  const int chunk = static_cast<int>(threadIdx.x) % kChunks, row = static_cast<int>(threadIdx.x) / kChunks;
  const uint32_t to = tile + chunk_offset<kRows>(row, chunk);
  const int from = row * static_cast<int>(stride) + chunk * kChunk;
#pragma unroll
  for (int i = 0; i < kRows / kRowsAtOnce; ++i) {
    const int64_t passed = first + i * kRowsAtOnce;  // the same in all threads, which keeps it out of their registers
    const bool valid = first + row + i * kRowsAtOnce < sequence;
    copy_async_16(to + i * kRowsAtOnce * kRowBytes, valid ? head + passed * stride + from : head, valid);
  }
}

/// Writes 16 rows of a warp, scaled, by way of its own rows of a tile that no other warp reads.
template <int kRows, int kHeadDim>
__device__ __forceinline__ void store_block_rows(unsigned char* tile, int first_row,
                                                 const float (&sums)[kHeadDim / 8][4], float upper_factor,
                                                 float lower_factor, Bf16* head, int64_t stride, int first_position,
                                                 int sequence) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int row = first_row + accumulator_row(lane, 0), byte = accumulator_column(lane, 0) * 2;
  __syncwarp();
#pragma unroll
  for (int n = 0; n < kHeadDim / 8; ++n) {
    *reinterpret_cast<uint32_t*>(tile + chunk_offset<kRows>(row, n) + byte) =
        pack_bf16(sums[n][0] * upper_factor, sums[n][1] * upper_factor);
    *reinterpret_cast<uint32_t*>(tile + chunk_offset<kRows>(row + 8, n) + byte) =
        pack_bf16(sums[n][2] * lower_factor, sums[n][3] * lower_factor);
  }
  __syncwarp();
  constexpr int kChunks = kHeadDim / kChunk, kRowsAtOnce = kWarp / kChunks;
#pragma unroll
  for (int i = 0; i < kBlock / kRowsAtOnce; ++i) {
    const int r = i * kRowsAtOnce + lane / kChunks, chunk = lane % kChunks;
    if (first_position + r < sequence)
      *reinterpret_cast<uint4*>(head + (first_position + r) * stride + chunk * kChunk) =
          *reinterpret_cast<const uint4*>(tile + chunk_offset<kRows>(first_row + r, chunk));
  }
}

/// Two neighbouring 16×8 results as the A operand, 16×16, of the next product.
__device__ __forceinline__ void as_operand(uint32_t (&a)[4], const float (&left)[4], const float (&right)[4]) {
  a[0] = pack_bf16(left[0], left[1]);
  a[1] = pack_bf16(left[2], left[3]);
  a[2] = pack_bf16(right[0], right[1]);
  a[3] = pack_bf16(right[2], right[3]);
}

/// Of every query [batch, heads, sequence], in the stream's scratch memory: lse · log2(e) and delta, the sum of dout ·
/// out. kReadableRows more may be read.
[[nodiscard]] const float2* row_statistics(const Stream& stream, const AttentionShape& shape, const Tensor& out,
                                           const Tensor& lse, const Tensor& dout);
inline constexpr int kReadableRows = 64;

/// Whether there is anything to compute for a call, which must be one that these kernels serve.
inline bool has_work(const AttentionShape& shape, DType dtype, std::initializer_list<const Tensor*> tensors) {
  TRIDENT_CHECK(flash_attention_supports(shape, dtype), "flash attention cannot serve this call");
  for (const Tensor* tensor : tensors) TRIDENT_CHECK(aligned({tensor->raw()}), "flash attention on unaligned tensors");
  return shape.batch > 0 && shape.sequence > 0;
}

/// Calls f with the head's dimension as a constant.
template <class F>
void with_head_dim(const AttentionShape& shape, const F& f) {
  if (shape.head_dim == 64)
    f(std::integral_constant<int, 64>{});
  else
    f(std::integral_constant<int, 128>{});
}

/// One block a tile of a head, with more shared memory than kernels have by default.
template <class Arguments>
void launch(const char* name, void (*kernel)(Arguments), int64_t blocks, int threads, uint32_t shared_bytes,
            const Stream& stream, const Arguments& arguments) {
  TRIDENT_CHECK(blocks < int64_t{1} << 31, "attention over too many tiles");
  cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes));
  kernel<<<static_cast<unsigned>(blocks), threads, shared_bytes, queue_of(stream)>>>(arguments);
  check_launch(name);
}

}  // namespace trident::cuda::flash
