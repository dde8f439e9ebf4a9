#pragma once

#include <cuda_runtime_api.h>
#include <nccl.h>

#include <memory>
#include <string>

namespace trident::nccl {

/// NCCL's functions, found when they are first needed, so that the program starts where NCCL is not installed.
struct Library {
#define TRIDENT_NCCL_FUNCTIONS(use)                                                                                   \
  use(AllGather) use(AllReduce) use(Broadcast) use(CommAbort) use(CommDeregister) use(CommDestroy) use(CommFinalize)  \
      use(CommGetAsyncError) use(CommInitRankConfig) use(CommRegister) use(CommSplit) use(GetErrorString)             \
          use(GetLastError) use(GetUniqueId) use(GetVersion) use(GroupEnd) use(GroupStart) use(MemAlloc) use(MemFree) \
              use(Recv) use(ReduceScatter) use(Send)
// NOLINTNEXTLINE(bugprone-macro-parentheses): a declaration
#define TRIDENT_NCCL_MEMBER(name) decltype(&::nccl##name) name = nullptr;
  TRIDENT_NCCL_FUNCTIONS(TRIDENT_NCCL_MEMBER)
#undef TRIDENT_NCCL_MEMBER

  std::string problem;  ///< why it cannot be used; empty if it can
};

[[nodiscard]] const Library& library();

/// Throws Error(peer_lost) for a failed call; one that goes on by itself has not failed.
void check(ncclResult_t result, const char* what);
/// Throws Error(internal).
void check(cudaError_t result, const char* what);

using StreamHandle = std::shared_ptr<CUstream_st>;
using EventHandle = std::shared_ptr<CUevent_st>;
/// Of the calling thread's device; goes before other work of the device.
[[nodiscard]] StreamHandle make_urgent_stream();
[[nodiscard]] EventHandle make_event();
/// The end of what the stream has been given so far.
[[nodiscard]] EventHandle mark(cudaStream_t stream);

}  // namespace trident::nccl
