#include "kernels/adamw_factors.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/optimizer.h"
#include "kernels/cuda/rounded.cuh"
#include "kernels/cuda/state.h"

namespace trident::cuda {
namespace {

constexpr int kThreads = 256;

/// Some ranges of a flat tensor, cut into pieces at the multiples of a fixed size: what a launch works on. Small enough
/// to be a kernel's argument.
struct Pieces {
  static constexpr int kMostRanges = 128;

  int64_t begin[kMostRanges];
  int64_t end[kMostRanges];
  int64_t first_piece[kMostRanges];  ///< of the launch
  bool decays[kMostRanges];
  int ranges;
  int64_t pieces;
};
static_assert(sizeof(Pieces) < 4000, "kernels have 4 KiB of arguments");

/// Elements [begin, end): all of one piece that lie in its range.
struct Piece {
  int64_t begin, end;
  int64_t start;  ///< the multiple of the size at or before begin
  bool decays;
};

__device__ __forceinline__ Piece piece_of(const Pieces& pieces, int64_t index, int64_t size) {
  int range = 0;
#pragma unroll
  for (int step = Pieces::kMostRanges / 2; step > 0; step /= 2) {
    if (range + step < pieces.ranges && pieces.first_piece[range + step] <= index) range += step;
  }
  const int64_t begin = pieces.begin[range], end = pieces.end[range];
  const int64_t start = (begin / size + index - pieces.first_piece[range]) * size;
  return {max(begin, start), min(end, start + size), start, pieces.decays[range]};
}

/// Calls launch(pieces) for all ranges, as many at once as one launch takes. Empty ones are left out: no piece may
/// belong to two of them.
template <class Launch>
void for_pieces(std::span<const FlatRange> ranges, int64_t size, const Launch& launch) {
  Pieces pieces{};
  for (const FlatRange& range : ranges) {
    if (range.begin == range.end) continue;
    const int slot = pieces.ranges++;
    pieces.begin[slot] = range.begin;
    pieces.end[slot] = range.end;
    pieces.first_piece[slot] = pieces.pieces;
    pieces.decays[slot] = range.decays;
    pieces.pieces += divide_up(range.end, size) - range.begin / size;
    if (pieces.ranges < Pieces::kMostRanges) continue;
    launch(pieces);
    pieces = Pieces{};
  }
  if (pieces.ranges > 0) launch(pieces);
}

constexpr int kAdamWUnroll = 2;

template <class A>
struct AdamWElement {
  A master, exp_avg, exp_avg_sq;
};

template <class A>
__device__ __forceinline__ AdamWElement<A> adamw_element(const AdamWFactors<A>& factors, A keep, A grad,
                                                         const AdamWElement<A>& before) {
  const A g = product(grad, factors.grad_scale);
  const A m = fused(factors.beta1, before.exp_avg, product(factors.rest1, g));
  const A v = fused(factors.beta2, before.exp_avg_sq, product(factors.rest2, product(g, g)));
  const A root = fused(sqrt(v), factors.root_scale, factors.eps);
  return {fused(-factors.step_size, m / root, product(before.master, keep)), m, v};
}

template <class A, class T>
__device__ __forceinline__ void adamw_at(const AdamWFactors<A>& factors, A keep, const AdamWData<A, T>& data,
                                         int64_t i) {
  const auto after =
      adamw_element<A>(factors, keep, data.grad[i], {data.master[i], data.exp_avg[i], data.exp_avg_sq[i]});
  data.master[i] = after.master;
  data.exp_avg[i] = after.exp_avg;
  data.exp_avg_sq[i] = after.exp_avg_sq;
  if (data.compute != nullptr) data.compute[i] = narrow<T>(static_cast<Accumulator<T>>(after.master));
}

/// One piece of kThreads · kAdamWUnroll groups a block. Groups that lie in the range as a whole are read at once, the
/// others, at its ends, one by one.
template <class A, class T, int kSize>
__global__ void __launch_bounds__(kThreads)
    adamw_kernel(const __grid_constant__ Pieces pieces, const AdamWFactors<A> factors, const AdamWData<A, T> data) {
  using G = Group<A, kSize>;
  constexpr int64_t kPiece = int64_t{kThreads} * kAdamWUnroll * kSize;
  const Piece piece = piece_of(pieces, blockIdx.x, kPiece);
  const A keep = piece.decays ? factors.kept_with_decay : A(1);
  G master[kAdamWUnroll], grad[kAdamWUnroll], exp_avg[kAdamWUnroll], exp_avg_sq[kAdamWUnroll];
#pragma unroll
  for (int u = 0; u < kAdamWUnroll; ++u) {
    const int64_t i = piece.start + (u * kThreads + static_cast<int>(threadIdx.x)) * kSize;
    if (i < piece.begin || i + kSize > piece.end) continue;
    master[u] = *reinterpret_cast<const G*>(data.master + i);
    grad[u] = *reinterpret_cast<const G*>(data.grad + i);
    exp_avg[u] = *reinterpret_cast<const G*>(data.exp_avg + i);
    exp_avg_sq[u] = *reinterpret_cast<const G*>(data.exp_avg_sq + i);
  }
#pragma unroll
  for (int u = 0; u < kAdamWUnroll; ++u) {
    const int64_t i = piece.start + (u * kThreads + static_cast<int>(threadIdx.x)) * kSize;
    if (i < piece.begin || i + kSize > piece.end) {
      for (int64_t k = max(i, piece.begin); k < min(i + kSize, piece.end); ++k) adamw_at(factors, keep, data, k);
      continue;
    }
    Group<T, kSize> compute;
#pragma unroll
    for (int k = 0; k < kSize; ++k) {
      const auto after = adamw_element<A>(factors, keep, grad[u].values[k],
                                          {master[u].values[k], exp_avg[u].values[k], exp_avg_sq[u].values[k]});
      master[u].values[k] = after.master;
      exp_avg[u].values[k] = after.exp_avg;
      exp_avg_sq[u].values[k] = after.exp_avg_sq;
      compute.values[k] = narrow<T>(static_cast<Accumulator<T>>(after.master));
    }
    *reinterpret_cast<G*>(data.master + i) = master[u];
    *reinterpret_cast<G*>(data.exp_avg + i) = exp_avg[u];
    *reinterpret_cast<G*>(data.exp_avg_sq + i) = exp_avg_sq[u];
    if (data.compute != nullptr) *reinterpret_cast<Group<T, kSize>*>(data.compute + i) = compute;
  }
}

template <class A, class T, int kSize>
void launch_adamw(const Stream& stream, const AdamWStep& step, std::span<const FlatRange> ranges,
                  const AdamWData<A, T>& data) {
  const AdamWFactors<A> factors(step);
  for_pieces(ranges, int64_t{kThreads} * kAdamWUnroll * kSize, [&](const Pieces& pieces) {
    adamw_kernel<A, T, kSize>
        <<<static_cast<unsigned>(pieces.pieces), kThreads, 0, queue_of(stream)>>>(pieces, factors, data);
  });
}

// A warp sums 32 cells at once: half a warp a cell, 16 cells one after another.
constexpr int kCellLanes = 16;
constexpr int kLaneElements = static_cast<int>(kSquareCell) / kCellLanes;
constexpr int kWarpCells = 32;
constexpr int kSquareBlocks = 2;  // on a multiprocessor
constexpr int64_t kSquarePiece = kWarpCells * kSquareCell;

/// A sum of doubles without rounding (ExactSum), that one thread keeps in registers: a few words around where its terms
/// lie. Terms elsewhere move it there, and what it held goes to the block's words.
class ExactWindow {
 public:
  __device__ __forceinline__ void add(double x, unsigned long long* words) {
    if (x == 0.0) return;
    const ExactSum::Term term = ExactSum::term(x);
    const int first = static_cast<int>(term.first_word);
    if (base_ < 0 || first < base_ || first > base_ + kMargin) {
      flush(words);
      base_ = max(first - 1, 0);
    }
    const int offset = first - base_;
#pragma unroll
    for (int i = 0; i < kWords; ++i) {
#pragma unroll
      for (int part = 0; part < 3; ++part) {
        if (i - part >= 0 && i - part <= kMargin) held_[i] += offset == i - part ? term.parts[part] : 0;
      }
    }
  }
  /// The whole warp's windows to the block's words, with one addition for all lanes that hold the same words.
  __device__ void flush_warp(unsigned long long* words) {
    unsigned pending = __ballot_sync(0xffffffffu, base_ >= 0);
    while (pending != 0) {
      const int base = __shfl_sync(0xffffffffu, base_, __ffs(static_cast<int>(pending)) - 1);
      const bool mine = base_ == base;
#pragma unroll
      for (int i = 0; i < kWords; ++i) {
        const long long sum = warp_sum(mine ? held_[i] : 0LL);
        if (threadIdx.x % kWarp == 0 && sum != 0) atomicAdd(&words[base + i], static_cast<unsigned long long>(sum));
      }
      pending &= ~__ballot_sync(0xffffffffu, mine);
    }
  }

 private:
  static constexpr int kMargin = 2, kWords = kMargin + 3;

  __device__ void flush(unsigned long long* words) {
#pragma unroll
    for (int i = 0; i < kWords; ++i) {
      if (held_[i] != 0) atomicAdd(&words[base_ + i], static_cast<unsigned long long>(held_[i]));
      held_[i] = 0;
    }
  }

  long long held_[kWords] = {};
  int base_ = -1;
};

/// Σ x² of a lane's elements of one cell.
template <class T>
__device__ __forceinline__ double sum_of_squares(const Group<T, kLaneElements>& group) {
  double sum = 0.0;
#pragma unroll
  for (int k = 0; k < kLaneElements; ++k) {
    const double value = static_cast<double>(widen(group.values[k]));
    sum = __fma_rn(value, value, sum);
  }
  return sum;
}

/// A lane's elements from `at` on; zero where they lie outside the piece.
template <class T>
__device__ __forceinline__ Group<T, kLaneElements> elements_inside(const T* x, int64_t at, const Piece& piece) {
  Group<T, kLaneElements> group;
#pragma unroll
  for (int k = 0; k < kLaneElements; ++k) {
    const bool inside = at + k >= piece.begin && at + k < piece.end;
    group.values[k] = inside ? x[at + k] : T(0.0f);
  }
  return group;
}

/// Sums of 2·kCells cells, of which each of as many lanes has a part: each lane goes on with the half of the
/// cells that it will end with, and lane l of them ends with sums[0] of cell l. The tree of additions is the same for
/// every cell.
template <int kCells>
__device__ __forceinline__ void add_up_lanes(double (&sums)[kCellLanes], int lane) {
  const bool upper = (lane & kCells) != 0;
#pragma unroll
  for (int c = 0; c < kCells; ++c) {
    const double kept = upper ? sums[c + kCells] : sums[c], sent = upper ? sums[c] : sums[c + kCells];
    sums[c] = kept + __shfl_xor_sync(0xffffffffu, sent, kCells);
  }
  if constexpr (kCells > 1) add_up_lanes<kCells / 2>(sums, lane);
}

/// Warps take pieces of 32 cells.
template <class T, bool kAligned>
__global__ void __launch_bounds__(kThreads, kSquareBlocks)
    squares_kernel(const __grid_constant__ Pieces pieces, const T* __restrict__ x, unsigned long long* words) {
  __shared__ unsigned long long block_words[ExactSum::kWords];
  if (threadIdx.x < ExactSum::kWords) block_words[threadIdx.x] = 0;
  __syncthreads();
  constexpr int kWarps = kThreads / kWarp;
  const int lane = static_cast<int>(threadIdx.x) % kWarp, cell_lane = lane % kCellLanes, half = lane / kCellLanes;
  ExactWindow window;
  for (int64_t index = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / kWarp; index < pieces.pieces;
       index += static_cast<int64_t>(gridDim.x) * kWarps) {
    const Piece piece = piece_of(pieces, index, kSquarePiece);
    // The two halves read cells 2c and 2c + 1: a warp's access is to one stretch of memory.
    const int64_t first = piece.start + half * kSquareCell + cell_lane * kLaneElements;
    double sums[kCellLanes];
    if (kAligned && piece.end - piece.begin == kSquarePiece) {
      Group<T, kLaneElements> groups[kCellLanes];
#pragma unroll
      for (int c = 0; c < kCellLanes; ++c)
        groups[c] = *reinterpret_cast<const Group<T, kLaneElements>*>(x + first + c * 2 * kSquareCell);
#pragma unroll
      for (int c = 0; c < kCellLanes; ++c) sums[c] = sum_of_squares(groups[c]);
    } else {
#pragma unroll
      for (int c = 0; c < kCellLanes; ++c)
        sums[c] = sum_of_squares(elements_inside(x, first + c * 2 * kSquareCell, piece));
    }
    add_up_lanes<kCellLanes / 2>(sums, lane);
    window.add(sums[0], block_words);
  }
  __syncwarp();
  window.flush_warp(block_words);
  __syncthreads();
  if (threadIdx.x < ExactSum::kWords && block_words[threadIdx.x] != 0)
    atomicAdd(&words[threadIdx.x], block_words[threadIdx.x]);
}

}  // namespace

void adamw(const Stream& stream, const AdamWStep& step, std::span<const FlatRange> ranges, Tensor& master,
           const Tensor& grad, Tensor& exp_avg, Tensor& exp_avg_sq, Tensor& compute) {
  const DType dtype = compute.defined() ? compute.dtype() : master.dtype();
  TRIDENT_CHECK(master.dtype() == accumulation_dtype(dtype));
  with_float_type(dtype, [&](auto zero) {
    using T = decltype(zero);
    using A = Accumulator<T>;
    const AdamWData<A, T> data{data_of<A>(master), data_of<A>(grad), data_of<A>(exp_avg), data_of<A>(exp_avg_sq),
                               data_of<T>(compute)};
    if (aligned({data.master, data.grad, data.exp_avg, data.exp_avg_sq, data.compute}))
      launch_adamw<A, T, Pack<A>::kSize>(stream, step, ranges, data);
    else
      launch_adamw<A, T, 1>(stream, step, ranges, data);
  });
  check_launch("adamw");
}

void add_sums_of_squares(const Stream& stream, const Tensor& x, std::span<const FlatRange> ranges, ExactSum& sum) {
  constexpr size_t kBytes = ExactSum::kWords * sizeof(int64_t);
  std::array<int64_t, ExactSum::kWords> host_words{};
  auto* words = static_cast<unsigned long long*>(state_of(stream).scratch(kBytes));
  check(cudaMemsetAsync(words, 0, kBytes, queue_of(stream)), "add_sums_of_squares");
  with_float_type(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const auto kernel = aligned({x.raw()}) ? squares_kernel<T, true> : squares_kernel<T, false>;
    for_pieces(ranges, kSquarePiece, [&](const Pieces& pieces) {
      const int64_t blocks = std::min<int64_t>(divide_up<int64_t>(pieces.pieces, kThreads / kWarp),
                                               int64_t{kSquareBlocks} * multiprocessors());
      kernel<<<static_cast<unsigned>(blocks), kThreads, 0, queue_of(stream)>>>(pieces, data_of<T>(x), words);
    });
  });
  check_launch("add_sums_of_squares");
  check(cudaMemcpyAsync(host_words.data(), words, kBytes, cudaMemcpyDeviceToHost, queue_of(stream)),
        "add_sums_of_squares");
  stream.synchronize();
  sum.add_words(host_words);
}

}  // namespace trident::cuda
