#include "kernels/cuda/gemm.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/linear.h"
#include "kernels/cuda/quantize.h"
#include "kernels/cuda/state.h"
#include "kernels/whole_products.h"

namespace trident::cuda {
namespace {

constexpr int kThreads = 256;

// Column sums. Blocks sum chunks of rows, then others add the chunks in order. Chunks follow from the shape alone, as
// does the order in a chunk, so bits depend neither on the GPU nor on where dy lies.
constexpr int kRowLanes = kThreads / kWarp;  // rows that a block reads at once
constexpr int kChunkLanes = 16;              // chunks that a block adds at once
constexpr int64_t kFewestRows = 64;          // of a chunk
constexpr int64_t kEnoughBlocks = 8 * 132;

template <class T, int kSize>
__global__ void __launch_bounds__(kThreads)
    sum_chunks_kernel(const T* dy, int64_t rows, int64_t columns, int64_t chunk, Accumulator<T>* partial) {
  using Sum = Accumulator<T>;
  constexpr int kColumns = kWarp * kSize;
  __shared__ Sum shared[kRowLanes][kColumns];
  const int lane = static_cast<int>(threadIdx.x), row_lane = static_cast<int>(threadIdx.y);
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kColumns;
  const int64_t column = first + lane * kSize;
  const int64_t begin = blockIdx.y * chunk, end = begin + chunk < rows ? begin + chunk : rows;
  Sum sums[kSize] = {};
  if (column < columns) {
#pragma unroll 4
    for (int64_t row = begin + row_lane; row < end; row += kRowLanes) {
      const auto read = *reinterpret_cast<const Group<T, kSize>*>(dy + row * columns + column);
#pragma unroll
      for (int k = 0; k < kSize; ++k) sums[k] += widen(read.values[k]);
    }
  }
#pragma unroll
  for (int k = 0; k < kSize; ++k) shared[row_lane][k * kWarp + lane] = sums[k];  // lanes in different banks
  __syncthreads();
  for (int i = row_lane * kWarp + lane; i < kColumns && first + i < columns; i += kThreads) {
    Sum sum = 0;
#pragma unroll
    for (int k = 0; k < kRowLanes; ++k) sum += shared[k][i % kSize * kWarp + i / kSize];
    partial[blockIdx.y * columns + first + i] = sum;
  }
}

template <class Sum>
__global__ void __launch_bounds__(kWarp* kChunkLanes)
    add_chunks_kernel(const Sum* partial, int64_t chunks, int64_t columns, Sum* total) {
  __shared__ Sum shared[kChunkLanes][kWarp];
  const int64_t column = static_cast<int64_t>(blockIdx.x) * kWarp + threadIdx.x;
  Sum sum = 0;
  if (column < columns) {
#pragma unroll 4
    for (int64_t i = threadIdx.y; i < chunks; i += kChunkLanes) sum += partial[i * columns + column];
  }
  shared[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || column >= columns) return;
  for (int k = 1; k < kChunkLanes; ++k) sum += shared[k][threadIdx.x];
  total[column] += sum;
}

template <class T>
__global__ void __launch_bounds__(kThreads) repeat_kernel(const T* bias, int64_t columns, T* y, int64_t count) {
  const int64_t threads = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < count; i += threads)
    y[i] = bias[i % columns];
}

/// total += column sums of dy.
template <class T>
void add_column_sums(const Stream& stream, const Tensor& dy, Tensor& total) {
  using Sum = Accumulator<T>;
  constexpr int kSize = Pack<T>::kSize;
  const int64_t rows = dy.rows(), columns = dy.columns();
  const int64_t across = divide_up<int64_t>(columns, kWarp * kSize);
  const int64_t wanted = std::min(divide_up(kEnoughBlocks, across), divide_up(rows, kFewestRows));
  const int64_t chunk = divide_up(rows, wanted), chunks = divide_up(rows, chunk);
  auto* partial = static_cast<Sum*>(state_of(stream).scratch(static_cast<size_t>(chunks * columns) * sizeof(Sum)));
  const bool packs = columns % kSize == 0 && aligned({dy.raw()});
  const auto kernel = packs ? sum_chunks_kernel<T, kSize> : sum_chunks_kernel<T, 1>;
  const dim3 grid(static_cast<unsigned>(packs ? across : divide_up<int64_t>(columns, kWarp)),
                  static_cast<unsigned>(chunks));
  kernel<<<grid, dim3(kWarp, kRowLanes), 0, queue_of(stream)>>>(data_of<T>(dy), rows, columns, chunk, partial);
  add_chunks_kernel<<<static_cast<unsigned>(divide_up<int64_t>(columns, kWarp)), dim3(kWarp, kChunkLanes), 0,
                      queue_of(stream)>>>(partial, chunks, columns, data_of<Sum>(total));
  check_launch("column sums");
}

/// Every row of y becomes the bias.
void repeat(const Stream& stream, const Tensor& bias, Tensor& y) {
  const int64_t count = y.elements();
  const unsigned blocks = striding_blocks(count, kThreads);
  with_float_type(y.dtype(), [&](auto zero) {
    using T = decltype(zero);
    repeat_kernel<T><<<blocks, kThreads, 0, queue_of(stream)>>>(data_of<T>(bias), y.columns(), data_of<T>(y), count);
  });
  check_launch("repeat");
}

/// The bias where cuBLASLt may read it: kernels read 16 bytes at once.
const void* aligned_bias(const Stream& stream, const Tensor& bias) {
  if (aligned({bias.raw()})) return bias.raw();
  void* copy = state_of(stream).scratch(bias.bytes());
  check(cudaMemcpyAsync(copy, bias.raw(), bias.bytes(), cudaMemcpyDeviceToDevice, queue_of(stream)), "aligning a bias");
  return copy;
}

size_t whole_lines(size_t bytes) { return divide_up<size_t>(bytes, 256) * 256; }

/// The operands of a product in fp8: copies that lie as form nt has them, in scratch memory.
GemmOperands quantized(const Stream& stream, const GemmKey& key, const Tensor& a, const Tensor& b) {
  const auto as_nt = [](bool is_so) { return is_so ? Orientation::as_is : Orientation::transposed; };
  const size_t scale_bytes = whole_lines(2 * sizeof(Fp8Scale));
  const size_t a_bytes = whole_lines(static_cast<size_t>(a.elements()));
  const size_t b_bytes = whole_lines(static_cast<size_t>(b.elements()));
  auto* memory = static_cast<std::byte*>(state_of(stream).scratch(scale_bytes + a_bytes + b_bytes));
  auto* scales = reinterpret_cast<Fp8Scale*>(memory);
  std::byte *a_place = memory + scale_bytes, *b_place = a_place + a_bytes;
  const bool forward = key.form == GemmForm::nt;
  quantize(stream, a, forward ? Fp8Format::e4m3 : Fp8Format::e5m2, as_nt(key.form != GemmForm::tn), a_place, scales);
  quantize(stream, b, Fp8Format::e4m3, as_nt(forward), b_place, scales + 1);
  return {.a = a_place, .b = b_place, .a_scale = &scales[0].inverse, .b_scale = &scales[1].inverse};
}

GemmOperands operands_of(const Stream& stream, const GemmKey& key, const Tensor& a, const Tensor& b, const Tensor& c) {
  GemmOperands operands = key.fp8 ? quantized(stream, key, a, b) : GemmOperands{.a = a.raw(), .b = b.raw()};
  operands.c = c.raw();
  return operands;
}

}  // namespace

void require_fp8(const Stream& stream) {
  int major = 0, minor = 0;
  check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, stream.device().index), "asking the GPU");
  check(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, stream.device().index), "asking the GPU");
  if (10 * major + minor >= 89) return;
  throw Error(ErrorCode::config, "kernels/cuda",
              "fp8 products need a GPU of compute capability 8.9 or later; " + to_string(stream.device()) + " has " +
                  std::to_string(major) + "." + std::to_string(minor),
              "set precision.fp8: false");
}

void linear_forward(const Stream& stream, const Tensor& x, const Tensor& w, const Tensor& bias, Tensor& y,
                    LinearPrecision precision) {
  if (y.elements() == 0) return;
  const GemmKey key = forward_product(x, w, bias.defined(), precision);
  GemmOperands operands = operands_of(stream, key, x, w, y);
  GemmPlans::Plan& plan = plans_of(stream).plan(key, operands);
  const bool begin_with_bias = bias.defined() && !plan.adds_bias;
  if (begin_with_bias) repeat(stream, bias, y);
  // Scratch memory is the operands' in fp8.
  TRIDENT_CHECK(!key.fp8 || aligned({bias.raw()}), "an unaligned bias for an fp8 product");
  if (plan.adds_bias) operands.bias = aligned_bias(stream, bias);
  check_blas(plan.problem.run(stream, state_of(stream), plan.algorithm, operands, begin_with_bias), key);
}

void linear_backward_input(const Stream& stream, const Tensor& dy, const Tensor& w, Tensor& dx,
                           LinearPrecision precision) {
  if (dx.elements() == 0) return;
  const GemmKey key = backward_input_product(dy, w, precision);
  const GemmOperands operands = operands_of(stream, key, dy, w, dx);
  GemmPlans::Plan& plan = plans_of(stream).plan(key, operands);
  check_blas(plan.problem.run(stream, state_of(stream), plan.algorithm, operands, false), key);
}

void linear_backward_weight(const Stream& stream, const Tensor& dy, const Tensor& x, Tensor& dw, Tensor& dbias,
                            LinearPrecision precision) {
  if (dy.elements() == 0) return;
  const GemmKey key = backward_weight_product(dy, x, precision);
  const GemmOperands operands = operands_of(stream, key, dy, x, dw);
  GemmPlans::Plan& plan = plans_of(stream).plan(key, operands);
  check_blas(plan.problem.run(stream, state_of(stream), plan.algorithm, operands, true), key);
  if (!dbias.defined()) return;
  with_float_type(dy.dtype(), [&](auto zero) { add_column_sums<decltype(zero)>(stream, dy, dbias); });
}

}  // namespace trident::cuda
