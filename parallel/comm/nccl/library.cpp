#include "parallel/comm/nccl/library.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include "core/error.h"

namespace trident::nccl {
namespace {

std::string text_of(int version) {
  const int major = version < 10000 ? 1000 : 10000;  // until 2.8, and since
  return fmt::format("{}.{}.{}", version / major, version % major / 100, version % 100);
}

Library load() {
  Library loaded;
  // Never closed: it has threads and exit handlers.
  void* handle = dlopen("libnccl.so.2", RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr && *TRIDENT_NCCL_PATH != '\0') handle = dlopen(TRIDENT_NCCL_PATH, RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    loaded.problem = "libnccl.so.2 cannot be loaded";
    return loaded;
  }
  bool complete = true;
#define TRIDENT_NCCL_FIND(name)                                                       \
  loaded.name = reinterpret_cast<decltype(loaded.name)>(dlsym(handle, "nccl" #name)); \
  complete = complete && loaded.name != nullptr;
  TRIDENT_NCCL_FUNCTIONS(TRIDENT_NCCL_FIND)
#undef TRIDENT_NCCL_FIND
  // Older ones could damage small messages.
  constexpr int kOldest = NCCL_VERSION(2, 28, 7);
  int version = 0;
  if (!complete || loaded.GetVersion(&version) != ncclSuccess)
    loaded.problem = "libnccl.so.2 lacks functions of version " + text_of(kOldest);
  else if (version < kOldest)
    loaded.problem = "libnccl.so.2 is version " + text_of(version) + ", older than " + text_of(kOldest);
  return loaded;
}

}  // namespace

const Library& library() {
  static const Library loaded = load();
  return loaded;
}

void check(ncclResult_t result, const char* what) {
  if (result == ncclSuccess || result == ncclInProgress) return;
  throw Error(ErrorCode::peer_lost, "parallel/comm/nccl",
              fmt::format("{}: {}: {}", what, library().GetErrorString(result), library().GetLastError(nullptr)),
              "look at the other ranks' logs; NCCL_DEBUG=INFO says more");
}

void check(cudaError_t result, const char* what) {
  if (result == cudaSuccess) return;
  throw Error(ErrorCode::internal, "parallel/comm/nccl", std::string(what) + ": " + cudaGetErrorString(result));
}

StreamHandle make_urgent_stream() {
  int lowest = 0, highest = 0;
  check(cudaDeviceGetStreamPriorityRange(&lowest, &highest), "asking for priorities");
  cudaStream_t stream = nullptr;
  check(cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking, highest), "creating a stream");
  return {stream, [](cudaStream_t handle) { cudaStreamDestroy(handle); }};
}

EventHandle make_event() {
  cudaEvent_t event = nullptr;
  check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "creating an event");
  return {event, [](cudaEvent_t handle) { cudaEventDestroy(handle); }};
}

EventHandle mark(cudaStream_t stream) {
  EventHandle event = make_event();
  check(cudaEventRecord(event.get(), stream), "recording an event");
  return event;
}

}  // namespace trident::nccl
