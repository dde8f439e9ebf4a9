#include <cuda_runtime_api.h>

#include <algorithm>
#include <new>

#include "core/cuda_devices.h"
#include "core/device/runtime.h"
#include "core/error.h"

namespace trident {
namespace {

constexpr const char* kSeeDoctor =
    "`trident doctor` lists the GPUs that this process sees; `device: cpu` runs without one";

void check(cudaError_t result, const char* what) {
  if (result == cudaSuccess) return;
  throw Error(ErrorCode::internal, "cuda", std::string(what) + ": " + cudaGetErrorString(result),
              "if this is the first GPU call, check nvidia-smi; otherwise a kernel before it went wrong");
}

void use(int device) {
  const cudaError_t result = cudaSetDevice(device);
  if (result == cudaSuccess) return;
  throw Error(ErrorCode::config, "cuda",
              "GPU " + std::to_string(device) + " cannot be used: " + cudaGetErrorString(result), kSeeDoctor);
}

cudaStream_t stream_of(void* handle) { return static_cast<cudaStream_t>(handle); }
cudaEvent_t event_of(void* handle) { return static_cast<cudaEvent_t>(handle); }

}  // namespace

std::vector<std::string> cuda_device_names() {
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess) return {};
  std::vector<std::string> names;
  for (int device = 0; device < count; ++device) {
    cudaDeviceProp properties{};
    if (cudaGetDeviceProperties(&properties, device) == cudaSuccess) names.emplace_back(properties.name);
  }
  return names;
}

bool cuda_compiled_in() { return true; }

std::string cuda_device_identity(int device) {
  cudaDeviceProp properties{};
  const cudaError_t result = cudaGetDeviceProperties(&properties, device);
  if (result != cudaSuccess)
    throw Error(ErrorCode::config, "cuda", "GPU " + std::to_string(device) + ": " + cudaGetErrorString(result),
                kSeeDoctor);
  std::string identity;
  for (const char byte : properties.uuid.bytes) identity += std::to_string(static_cast<unsigned char>(byte)) + '.';
  return identity;
}

size_t cuda_total_memory(int device) {
  cudaDeviceProp properties{};
  return cudaGetDeviceProperties(&properties, device) == cudaSuccess ? properties.totalGlobalMem : 0;
}

std::optional<DeviceMemory> cuda_memory(int device) {
  DeviceMemory memory;
  if (cudaSetDevice(device) != cudaSuccess || cudaMemGetInfo(&memory.free, &memory.total) != cudaSuccess)
    return std::nullopt;
  return memory;
}

namespace runtime {

std::shared_ptr<void> create_stream(int device) {
  use(device);
  cudaStream_t stream = nullptr;
  check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "creating a stream");
  return {stream, [](void* handle) { cudaStreamDestroy(stream_of(handle)); }};
}

std::shared_ptr<DeviceFault> create_fault(int device) {
  use(device);
  void* memory = nullptr;
  check(cudaHostAlloc(&memory, sizeof(DeviceFault), cudaHostAllocMapped | cudaHostAllocPortable), "pinning memory");
  return {new (memory) DeviceFault, [](DeviceFault* fault) { cudaFreeHost(fault); }};
}

std::shared_ptr<void> create_event(int device) {
  use(device);
  cudaEvent_t event = nullptr;
  check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "creating an event");
  return {event, [](void* handle) { cudaEventDestroy(event_of(handle)); }};
}

void synchronize_stream(void* stream) { check(cudaStreamSynchronize(stream_of(stream)), "waiting for the GPU"); }
void stream_wait(void* stream, void* event) {
  check(cudaStreamWaitEvent(stream_of(stream), event_of(event), 0), "ordering streams");
}
void record_event(void* event, void* stream) {
  check(cudaEventRecord(event_of(event), stream_of(stream)), "recording an event");
}
void synchronize_event(void* event) { check(cudaEventSynchronize(event_of(event)), "waiting for the GPU"); }

bool event_passed(void* event) {
  const cudaError_t result = cudaEventQuery(event_of(event));
  if (result == cudaErrorNotReady) return false;
  check(result, "asking the GPU");
  return true;
}

std::shared_ptr<Buffer> allocate(int device, size_t bytes) {
  use(device);
  void* data = nullptr;
  const cudaError_t result = cudaMalloc(&data, std::max<size_t>(bytes, 1));
  if (result == cudaErrorMemoryAllocation) {
    (void)cudaGetLastError();  // or the next call would report it
    size_t free = 0, total = 0;
    cudaMemGetInfo(&free, &total);
    throw Error(ErrorCode::config, "memory",
                "GPU " + std::to_string(device) + " has " + std::to_string(free >> 20) + " MiB left, not " +
                    std::to_string(bytes >> 20),
                "lower training.micro_batch_size, set training.recompute, or use more ranks");
  }
  check(result, "allocating memory");
  auto buffer = std::make_shared<Buffer>(data, bytes, Device::cuda(device), [](void* pointer) { cudaFree(pointer); });
  // Streams do not wait for the default one.
  check(cudaMemset(data, 0, bytes), "zeroing memory");
  check(cudaStreamSynchronize(nullptr), "zeroing memory");
  return buffer;
}

std::shared_ptr<Buffer> allocate_pinned(size_t bytes) {
  void* data = nullptr;
  if (cudaHostAlloc(&data, std::max<size_t>(bytes, 1), cudaHostAllocPortable) != cudaSuccess) {
    (void)cudaGetLastError();
    return nullptr;
  }
  return std::make_shared<Buffer>(data, bytes, Device::cpu(), [](void* pointer) { cudaFreeHost(pointer); });
}

std::shared_ptr<void> pin(void* memory, size_t bytes) {
  if (bytes == 0 || cudaHostRegister(memory, bytes, cudaHostRegisterPortable) != cudaSuccess) {
    (void)cudaGetLastError();
    return nullptr;
  }
  return {memory, [](void* pinned) { cudaHostUnregister(pinned); }};
}

void copy(void* to, const void* from, size_t bytes, void* stream) {
  if (bytes > 0) check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, stream_of(stream)), "copying");
}

void copy_rows(void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t bytes, size_t rows,
               void* stream) {
  if (bytes == 0 || rows == 0) return;
  check(cudaMemcpy2DAsync(to, to_pitch, from, from_pitch, bytes, rows, cudaMemcpyDefault, stream_of(stream)),
        "copying");
}

void set_zero(void* to, size_t bytes, void* stream) {
  if (bytes > 0) check(cudaMemsetAsync(to, 0, bytes, stream_of(stream)), "zeroing");
}

}  // namespace runtime
}  // namespace trident
