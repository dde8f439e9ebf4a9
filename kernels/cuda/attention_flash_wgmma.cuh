#pragma once

#include "kernels/cuda/attention_flash.cuh"
#include "kernels/cuda/attention_flash_wgmma_ptx.cuh"

namespace trident::cuda::flash {

/// The frame of every pass on warpgroups: the first warpgroup gives its registers away, and one thread of it copies
/// tiles for the others, which compute.
template <class Pass>
__global__ void __launch_bounds__(Pass::Tiles::kThreads, 1)
    wgmma_kernel(const __grid_constant__ typename Pass::Arguments arguments) {
  extern __shared__ __align__(1024) unsigned char shared[];
  const typename Pass::Memory memory{shared_address(shared)};
  const typename Pass::Work work(arguments.sizes);
  if (threadIdx.x == 0) memory.init_barriers();
  __syncthreads();
  if (threadIdx.x < kWarpgroup) {
    release_registers<24>();
    if (threadIdx.x == 0) Pass::kCopy(arguments, work, memory);
  } else {
    claim_registers<240>();
    Pass::kCompute(arguments, work, memory, shared);
  }
}

}  // namespace trident::cuda::flash
