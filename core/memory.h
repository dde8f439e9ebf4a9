#pragma once

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

}  // namespace trident
