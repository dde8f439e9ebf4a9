#include "kernels/cuda/quantize.h"
#include "kernels/cuda/row_access.cuh"

namespace trident::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kPack = Pack<__nv_bfloat16>::kSize;
constexpr int kSizes = 16;  // what rows and columns are multiples of

/// scale->largest, which was 0, becomes the largest magnitude. Magnitudes are ordered as their bits are, NaN above all.
__global__ void __launch_bounds__(kThreads) largest_kernel(const __nv_bfloat16* x, int64_t packs, Fp8Scale* scale) {
  constexpr uint32_t kMagnitudes = 0x7fff7fff;  // two at once
  __shared__ uint32_t of_warps[kThreads / kWarp];
  const int64_t threads = static_cast<int64_t>(gridDim.x) * kThreads;
  uint32_t most = 0;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < packs; i += threads) {
    const PackBits bits = load_bits(x + i * kPack);
    for (const int pair : {bits.x, bits.y, bits.z, bits.w})
      most = __vmaxu2(most, static_cast<uint32_t>(pair) & kMagnitudes);
  }
  most = warp_max(max(most & 0xffff, most >> 16));
  if (threadIdx.x % kWarp == 0) of_warps[threadIdx.x / kWarp] = most;
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (const uint32_t other : of_warps) most = max(most, other);
  atomicMax(&scale->largest, most);  // in any order the same
}

/// A pack as eight bytes.
template <Fp8Format kFormat>
__device__ __forceinline__ uint2 rounded(PackBits bits, float factor) {
  const auto pack = pack_of<__nv_bfloat16>(bits);
  uint32_t pairs[kPack / 2];
#pragma unroll
  for (int i = 0; i < kPack / 2; ++i)
    pairs[i] = fp8_pair<kFormat>(factor * widen(pack.values[2 * i]), factor * widen(pack.values[2 * i + 1]));
  return {pairs[0] | pairs[1] << 16, pairs[2] | pairs[3] << 16};
}

/// By one thread of the grid.
template <Fp8Format kFormat>
__device__ __forceinline__ void store_inverse(Fp8Scale* scale) {
  if (blockIdx.x == 0 && blockIdx.y == 0 && threadIdx.x == 0) scale->inverse = fp8_inverse(scale->largest, kFormat);
}

template <Fp8Format kFormat>
__global__ void __launch_bounds__(kThreads)
    quantize_kernel(const __nv_bfloat16* x, int64_t pairs_of_packs, uint4* to, Fp8Scale* scale) {
  const float factor = fp8_scale(scale->largest, kFormat);
  const int64_t threads = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < pairs_of_packs; i += threads) {
    const uint2 first = rounded<kFormat>(load_bits(x + 2 * i * kPack), factor);
    const uint2 second = rounded<kFormat>(load_bits(x + (2 * i + 1) * kPack), factor);
    to[i] = {first.x, first.y, second.x, second.y};
  }
  store_inverse<kFormat>(scale);
}

/// to[columns, rows]
template <Fp8Format kFormat>
__global__ void __launch_bounds__(fp8_tile::kThreads)
    quantize_transposed_kernel(const __nv_bfloat16* x, int64_t rows, int64_t columns, uint8_t* to, Fp8Scale* scale) {
  using namespace fp8_tile;
  alignas(16) __shared__ uint32_t words[kWords];
  const float factor = fp8_scale(scale->largest, kFormat);
  const int thread = static_cast<int>(threadIdx.x);
  const int64_t first_row = static_cast<int64_t>(blockIdx.y) * kRows;
  const int64_t first_column = static_cast<int64_t>(blockIdx.x) * kColumns;
  const int row = thread_row(thread), column = thread_column(thread);
  if (first_row + row < rows && first_column + column < columns) {
    const __nv_bfloat16* from = x + (first_row + row) * columns + first_column + column;
    uint32_t left[kThreadRows], right[kThreadRows];
#pragma unroll
    for (int i = 0; i < kThreadRows; ++i) {
      const uint2 bytes = rounded<kFormat>(load_bits(from + i * columns), factor);
      left[i] = bytes.x;
      right[i] = bytes.y;
    }
#pragma unroll
    for (int i = 0; i < kThreadColumns / 2; ++i) {
      words[word_place(row, column + i)] = column_word(left, i);
      words[word_place(row, column + kThreadColumns / 2 + i)] = column_word(right, i);
    }
  }
  __syncthreads();
#pragma unroll
  for (int chunk = thread; chunk < kChunks; chunk += fp8_tile::kThreads) {
    const int64_t to_row = first_column + chunk_column(chunk), to_column = first_row + chunk_row(chunk);
    if (to_row >= columns || to_column >= rows) continue;
    *reinterpret_cast<uint4*>(to + to_row * rows + to_column) =
        *reinterpret_cast<const uint4*>(words + word_place(chunk_row(chunk), chunk_column(chunk)));
  }
  store_inverse<kFormat>(scale);
}

template <Fp8Format kFormat>
void launch(const Stream& stream, const Tensor& x, Orientation orientation, void* to, Fp8Scale* scale) {
  const auto* from = data_of<__nv_bfloat16>(x);
  if (orientation == Orientation::as_is) {
    const int64_t items = x.elements() / (2 * kPack);
    quantize_kernel<kFormat><<<striding_blocks(items, kThreads), kThreads, 0, queue_of(stream)>>>(
        from, items, static_cast<uint4*>(to), scale);
  } else {
    const dim3 grid(static_cast<unsigned>(divide_up<int64_t>(x.columns(), fp8_tile::kColumns)),
                    static_cast<unsigned>(divide_up<int64_t>(x.rows(), fp8_tile::kRows)));
    quantize_transposed_kernel<kFormat><<<grid, fp8_tile::kThreads, 0, queue_of(stream)>>>(
        from, x.rows(), x.columns(), static_cast<uint8_t*>(to), scale);
  }
  check_launch("quantize");
}

}  // namespace

void quantize(const Stream& stream, const Tensor& x, Fp8Format format, Orientation orientation, void* to,
              Fp8Scale* scale) {
  TRIDENT_CHECK(x.dtype() == DType::bf16 && x.rows() % kSizes == 0 && x.columns() % kSizes == 0,
                "quantizing " + x.shape().to_string());
  TRIDENT_CHECK(aligned({x.raw(), to}), "quantizing unaligned memory");
  check(cudaMemsetAsync(scale, 0, sizeof *scale, queue_of(stream)), "clearing a scale");
  const int64_t packs = x.elements() / kPack;
  largest_kernel<<<striding_blocks(packs, kThreads), kThreads, 0, queue_of(stream)>>>(data_of<__nv_bfloat16>(x), packs,
                                                                                      scale);
  check_launch("largest magnitude");
  if (format == Fp8Format::e4m3)
    launch<Fp8Format::e4m3>(stream, x, orientation, to, scale);
  else
    launch<Fp8Format::e5m2>(stream, x, orientation, to, scale);
}

}  // namespace trident::cuda
