#pragma once

#include <cuda.h>

#include "kernels/cuda/attention_flash.cuh"

/// Hopper's asynchronous instructions: products of whole warpgroups, copies of whole boxes, and barriers in shared
/// memory by which they tell that they are done.
namespace trident::cuda::flash {

inline constexpr int kWarpgroup = 128;

using TensorMap = CUtensorMap;

/// Boxes of kPanelColumns columns and `rows` rows of a tensor [batch, sequence, columns], laid out as chunk_offset()
/// says, with zeros past the sequence.
[[nodiscard]] inline TensorMap tensor_map(const Bf16* data, int64_t batch, int64_t sequence, int64_t columns,
                                          int rows) {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found = cudaDriverEntryPointSymbolNotFound;
  cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000, cudaEnableDefault, &found);
  if (function == nullptr || found != cudaDriverEntryPointSuccess)
    throw Error(ErrorCode::config, "kernels/cuda", "the driver knows no tensor maps",
                "install a driver of CUDA 12 or newer");
  const cuuint64_t sizes[] = {static_cast<cuuint64_t>(columns), static_cast<cuuint64_t>(sequence),
                              static_cast<cuuint64_t>(batch)};
  const cuuint64_t strides[] = {sizes[0] * sizeof(Bf16), sizes[0] * sizes[1] * sizeof(Bf16)};
  const cuuint32_t box[] = {kPanelColumns, static_cast<cuuint32_t>(rows), 1}, steps[] = {1, 1, 1};
  TensorMap map;
  const CUresult result = reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(function)(
      &map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 3, const_cast<Bf16*>(data), sizes, strides, box, steps,
      CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
      CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  TRIDENT_CHECK(result == CUDA_SUCCESS, "no tensor map of this call");
  return map;
}

__device__ __forceinline__ void init_barrier(uint32_t barrier, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}

/// After all init_barrier(), before the block's threads and copies may use them.
__device__ __forceinline__ void publish_barriers() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  asm volatile("fence.proxy.async;" ::: "memory");
}

__device__ __forceinline__ void arrive(uint32_t barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}

/// An arrival that also makes the barrier wait for copies of `bytes`.
__device__ __forceinline__ void arrive_expecting(uint32_t barrier, uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}

/// Waits for the end of the barrier's phase of this parity; the phase before the first counts as over.
__device__ __forceinline__ void wait_for_phase(uint32_t barrier, int parity) {
  asm volatile(
      "{\n"
      ".reg .pred done;\n"
      "again:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
      "@!done bra again;\n"
      "}" ::"r"(barrier),
      "r"(parity)
      : "memory");
}

__device__ __forceinline__ void copy_box(uint32_t to, const TensorMap& map, int column, int row, int batch,
                                         uint32_t barrier) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3, %4}], "
      "[%5];" ::"r"(to),
      "l"(&map), "r"(column), "r"(row), "r"(batch), "r"(barrier)
      : "memory");
}

/// The two ends of a named barrier of `threads` threads.
__device__ __forceinline__ void wait_at(int barrier, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(barrier), "r"(threads) : "memory");
}
__device__ __forceinline__ void arrive_at(int barrier, int threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(barrier), "r"(threads) : "memory");
}

/// Moves registers between the warpgroups of a block.
template <int kCount>
__device__ __forceinline__ void claim_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kCount));
}
template <int kCount>
__device__ __forceinline__ void release_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kCount));
}

/// Before products that use registers which other instructions wrote.
__device__ __forceinline__ void fence_products() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ __forceinline__ void commit_products() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

/// Waits until at most kPending groups of products are under way.
template <int kPending>
__device__ __forceinline__ void wait_for_products() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}

/// Keeps the compiler from reading sums before they are waited for.
template <int kTiles>
__device__ __forceinline__ void now_use(float (&sums)[kTiles][4]) {
#pragma unroll
  for (int n = 0; n < kTiles; ++n) {
#pragma unroll
    for (int i = 0; i < 4; ++i) asm volatile("" : "+f"(sums[n][i])::"memory");
  }
}

// A warpgroup's products: warp w of it has rows 16·w … 16·w + 15 of D and A, in the layout of mma.m16n8k16; D's tiles
// of 8 columns follow each other. As asm operands, D's registers are %0 … %31 for 64 columns, … %63 for 128.

#define TRIDENT_FOUR_SUMS(d, n) "+f"(d[n][0]), "+f"(d[n][1]), "+f"(d[n][2]), "+f"(d[n][3])
#define TRIDENT_16_SUMS(d, n) \
  TRIDENT_FOUR_SUMS(d, n), TRIDENT_FOUR_SUMS(d, n + 1), TRIDENT_FOUR_SUMS(d, n + 2), TRIDENT_FOUR_SUMS(d, n + 3)
#define TRIDENT_32_SUMS(d, n) TRIDENT_16_SUMS(d, n), TRIDENT_16_SUMS(d, n + 4)
#define TRIDENT_64_SUMS(d) TRIDENT_32_SUMS(d, 0), TRIDENT_32_SUMS(d, 8)
#define TRIDENT_32_NAMES                                                  \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15," \
  " %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define TRIDENT_64_NAMES                                                              \
  TRIDENT_32_NAMES                                                                    \
  ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47," \
  " %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
/// The product of `shape` into the registers `names`; `add`: the operand that says whether it adds to them.
#define TRIDENT_PRODUCT(shape, names, operands, add)                            \
  "{\n"                                                                         \
  ".reg .pred add;\n"                                                           \
  "setp.ne.b32 add, " add                                                       \
  ", 0;\n"                                                                      \
  "wgmma.mma_async.sync.aligned." shape ".f32.bf16.bf16 {" names "}, " operands \
  ";\n"                                                                         \
  "}"

/// D (+)= A·Bᵀ, 64×64 = 64×16 · 16×64; A and B as descriptors of tiles [rows, k].
template <bool kAdd>
__device__ __forceinline__ void multiply_rows(float (&d)[8][4], uint64_t a, uint64_t b) {
  asm volatile(TRIDENT_PRODUCT("m64n64k16", TRIDENT_32_NAMES, "%32, %33, add, 1, 1, 0, 0", "%34")
               : TRIDENT_32_SUMS(d, 0)
               : "l"(a), "l"(b), "r"(kAdd ? 1 : 0));
}

/// D (+)= A·Bᵀ, 64×128 = 64×16 · 16×128; A and B as descriptors of tiles [rows, k].
template <bool kAdd>
__device__ __forceinline__ void multiply_rows(float (&d)[16][4], uint64_t a, uint64_t b) {
  asm volatile(TRIDENT_PRODUCT("m64n128k16", TRIDENT_64_NAMES, "%64, %65, add, 1, 1, 0, 0", "%66")
               : TRIDENT_64_SUMS(d)
               : "l"(a), "l"(b), "r"(kAdd ? 1 : 0));
}

/// D += A·B, 64×64 += 64×16 · 16×64; A in registers, B as the descriptor of a tile [k, columns].
__device__ __forceinline__ void multiply_add_columns(float (&d)[8][4], const uint32_t (&a)[4], uint64_t b) {
  asm volatile(TRIDENT_PRODUCT("m64n64k16", TRIDENT_32_NAMES, "{%32, %33, %34, %35}, %36, add, 1, 1, 1", "%37")
               : TRIDENT_32_SUMS(d, 0)
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(1));
}

/// D += A·B, 64×128 += 64×16 · 16×128; A in registers, B as the descriptor of a tile [k, columns].
__device__ __forceinline__ void multiply_add_columns(float (&d)[16][4], const uint32_t (&a)[4], uint64_t b) {
  asm volatile(TRIDENT_PRODUCT("m64n128k16", TRIDENT_64_NAMES, "{%64, %65, %66, %67}, %68, add, 1, 1, 1", "%69")
               : TRIDENT_64_SUMS(d)
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(1));
}

#undef TRIDENT_PRODUCT
#undef TRIDENT_64_NAMES
#undef TRIDENT_32_NAMES
#undef TRIDENT_64_SUMS
#undef TRIDENT_32_SUMS
#undef TRIDENT_16_SUMS
#undef TRIDENT_FOUR_SUMS

}  // namespace trident::cuda::flash
