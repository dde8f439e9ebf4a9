#pragma once

#include <span>

#include "core/allocator.h"
#include "core/device.h"
#include "core/tensor.h"

namespace trident {

// Memory by device, and what moves bytes without looking at them. Copies and zeroing are in the stream's order: done
// when the call returns on the CPU, later on a GPU. Tensors on the meta device are passed over.

/// Zeroed memory. Throws Error(ErrorCode::config) with the size when there is not enough.
[[nodiscard]] std::shared_ptr<Buffer> allocate_memory(Device device, size_t bytes, Pages pages = Pages::huge);
[[nodiscard]] Tensor allocate_zeroed(Device device, Shape shape, DType dtype, Pages pages = Pages::huge);
/// Zeroed memory of the size and kind of `tensor`.
[[nodiscard]] Tensor allocate_like(const Tensor& tensor);
/// Memory of the host for copies to and from a GPU: pinned where there is one, so that they run beside other work.
[[nodiscard]] std::shared_ptr<Buffer> allocate_pinned(size_t bytes);

/// to = from, of one dtype and size. Either may lie on the host or on the stream's device.
void copy(const Stream& stream, const Tensor& from, const Tensor& to);
/// Columns [from_column, from_column + to.columns()) of `from`'s rows become the rows of `to`.
void copy_columns(const Stream& stream, const Tensor& from, int64_t from_column, const Tensor& to);
void set_zero(const Stream& stream, const Tensor& tensor);

/// A tensor on the host with the same values, once they are there: `tensor` itself if it lies there, else a copy, for
/// which this waits.
[[nodiscard]] Tensor to_host(const Stream& stream, const Tensor& tensor);

/// Calls write(host tensor), which gives every element a value; `tensor` has these values once this returns.
template <class Write>
void write_from_host(const Stream& stream, Tensor tensor, const Write& write) {
  if (tensor.device().kind != DeviceKind::cuda) return write(tensor);
  Tensor host(allocate_pinned(tensor.bytes()), 0, tensor.shape(), tensor.dtype());
  write(host);
  copy(stream, host, tensor);
  stream.synchronize();
}

/// Lets GPUs copy to and from memory of the host by themselves while the result lives; null where there is none, or
/// where the memory cannot be pinned, which only makes copies slower.
[[nodiscard]] std::shared_ptr<void> pin_memory(std::span<std::byte> memory);
/// `bytes` bytes between host and device or within either, in the stream's order.
void copy_bytes(const Stream& stream, void* to, const void* from, size_t bytes);

}  // namespace trident
