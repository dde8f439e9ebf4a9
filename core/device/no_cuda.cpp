#include "core/cuda_devices.h"
#include "core/device/runtime.h"
#include "core/error.h"

namespace trident {
namespace {

[[noreturn]] void refuse() {
  throw Error(ErrorCode::config, "cuda", "this build has no CUDA",
              "run with device: cpu, or rebuild with TRIDENT_CUDA=ON");
}

}  // namespace

std::vector<std::string> cuda_device_names() { return {}; }
bool cuda_compiled_in() { return false; }
std::string cuda_device_identity(int) { refuse(); }
size_t cuda_total_memory(int) { return 0; }
std::optional<DeviceMemory> cuda_memory(int) { return std::nullopt; }

namespace runtime {

std::shared_ptr<void> create_stream(int) { refuse(); }
std::shared_ptr<DeviceFault> create_fault(int) { refuse(); }
std::shared_ptr<void> create_event(int) { refuse(); }
void synchronize_stream(void*) { refuse(); }
void stream_wait(void*, void*) { refuse(); }
void record_event(void*, void*) { refuse(); }
void synchronize_event(void*) { refuse(); }
bool event_passed(void*) { refuse(); }
std::shared_ptr<Buffer> allocate(int, size_t) { refuse(); }
std::shared_ptr<Buffer> allocate_pinned(size_t) { return nullptr; }
std::shared_ptr<void> pin(void*, size_t) { return nullptr; }
void copy(void*, const void*, size_t, void*) { refuse(); }
void copy_rows(void*, size_t, const void*, size_t, size_t, size_t, void*) { refuse(); }
void set_zero(void*, size_t, void*) { refuse(); }

}  // namespace runtime
}  // namespace trident
