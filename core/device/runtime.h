#pragma once

#include <cstddef>
#include <memory>

#include "core/device.h"
#include "core/tensor.h"

/// What core needs of the CUDA runtime. Without CUDA in the build, whatever makes something throws
/// Error(ErrorCode::config), and the rest is never called. Handles are CUDA's own.
namespace trident::runtime {

[[nodiscard]] std::shared_ptr<void> create_stream(int device);
[[nodiscard]] std::shared_ptr<DeviceFault> create_fault(int device);
[[nodiscard]] std::shared_ptr<void> create_event(int device);

void synchronize_stream(void* stream);
void stream_wait(void* stream, void* event);
void record_event(void* event, void* stream);
void synchronize_event(void* event);
[[nodiscard]] bool event_passed(void* event);

/// Zeroed memory of the device.
[[nodiscard]] std::shared_ptr<Buffer> allocate(int device, size_t bytes);
/// Memory of the host that devices copy to and from by themselves; null in a build without CUDA, or without a GPU.
[[nodiscard]] std::shared_ptr<Buffer> allocate_pinned(size_t bytes);
/// Pins memory of the host while the result lives; null where that cannot be.
[[nodiscard]] std::shared_ptr<void> pin(void* memory, size_t bytes);

/// In the stream's order. Either side may be memory of the host.
void copy(void* to, const void* from, size_t bytes, void* stream);
/// `rows` rows of `bytes` bytes, which start `pitch` bytes apart.
void copy_rows(void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t bytes, size_t rows, void* stream);
void set_zero(void* to, size_t bytes, void* stream);

}  // namespace trident::runtime
