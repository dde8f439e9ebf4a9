#include "core/memory.h"

#include <algorithm>
#include <cstring>

#include "core/device/runtime.h"

namespace trident {
namespace {

constexpr int64_t kBlock = int64_t{1} << 18;

bool on_meta(const Tensor& tensor) { return tensor.device().kind == DeviceKind::meta; }

/// Calls work(first byte, bytes) for blocks of `bytes` bytes, on the stream's threads.
template <class Work>
void for_bytes(const Stream& stream, size_t bytes, const Work& work) {
  const auto total = static_cast<int64_t>(bytes);
  if (total <= kBlock) return work(0, bytes);
  stream.pool().parallel_for((total + kBlock - 1) / kBlock, [&](int64_t block) {
    work(block * kBlock, static_cast<size_t>(std::min(kBlock, total - block * kBlock)));
  });
}

}  // namespace

std::shared_ptr<Buffer> allocate_memory(Device device, size_t bytes, Pages pages) {
  switch (device.kind) {
    case DeviceKind::cpu: return map_memory(std::max<size_t>(bytes, 1), pages);
    case DeviceKind::cuda: return runtime::allocate(device.index, bytes);
    case DeviceKind::meta: break;
  }
  return std::make_shared<Buffer>(nullptr, bytes, device, nullptr);
}

Tensor allocate_zeroed(Device device, Shape shape, DType dtype, Pages pages) {
  return {allocate_memory(device, static_cast<size_t>(shape.elements()) * size_of(dtype), pages), 0, shape, dtype};
}

Tensor allocate_like(const Tensor& tensor) { return allocate_zeroed(tensor.device(), tensor.shape(), tensor.dtype()); }

std::shared_ptr<Buffer> allocate_pinned(size_t bytes) {
  auto pinned = runtime::allocate_pinned(bytes);
  return pinned ? pinned : map_memory(std::max<size_t>(bytes, 1));
}

std::shared_ptr<void> pin_memory(std::span<std::byte> memory) { return runtime::pin(memory.data(), memory.size()); }

void copy_bytes(const Stream& stream, void* to, const void* from, size_t bytes) {
  if (stream.device().kind == DeviceKind::cuda) return runtime::copy(to, from, bytes, stream.handle());
  const auto* source = static_cast<const std::byte*>(from);
  auto* target = static_cast<std::byte*>(to);
  for_bytes(stream, bytes, [&](int64_t first, size_t count) { std::memcpy(target + first, source + first, count); });
}

void copy(const Stream& stream, const Tensor& from, const Tensor& to) {
  TRIDENT_CHECK(from.bytes() == to.bytes() && from.dtype() == to.dtype());
  if (on_meta(from) || on_meta(to) || from.raw() == to.raw()) return;
  copy_bytes(stream, to.raw(), from.raw(), from.bytes());
}

void copy_columns(const Stream& stream, const Tensor& from, int64_t from_column, const Tensor& to) {
  TRIDENT_CHECK(from.rows() <= to.rows() && from.dtype() == to.dtype());
  TRIDENT_CHECK(from_column >= 0 && from_column + to.columns() <= from.columns());
  if (on_meta(from) || on_meta(to)) return;
  const size_t size = size_of(from.dtype()), width = static_cast<size_t>(to.columns()) * size;
  const size_t pitch = static_cast<size_t>(from.columns()) * size;
  const auto* source = static_cast<const std::byte*>(from.raw()) + static_cast<size_t>(from_column) * size;
  auto* target = static_cast<std::byte*>(to.raw());
  const auto rows = static_cast<size_t>(from.rows());
  if (stream.device().kind == DeviceKind::cuda)
    return runtime::copy_rows(target, width, source, pitch, width, rows, stream.handle());
  for (size_t row = 0; row < rows; ++row) std::memcpy(target + row * width, source + row * pitch, width);
}

void set_zero(const Stream& stream, const Tensor& tensor) {
  if (on_meta(tensor)) return;
  if (stream.device().kind == DeviceKind::cuda) return runtime::set_zero(tensor.raw(), tensor.bytes(), stream.handle());
  auto* target = static_cast<std::byte*>(tensor.raw());
  for_bytes(stream, tensor.bytes(), [&](int64_t first, size_t bytes) { std::memset(target + first, 0, bytes); });
}

Tensor to_host(const Stream& stream, const Tensor& tensor) {
  if (tensor.device().kind != DeviceKind::cuda) return tensor;
  Tensor host(allocate_pinned(tensor.bytes()), 0, tensor.shape(), tensor.dtype());
  copy(stream, tensor, host);
  stream.synchronize();
  return host;
}

}  // namespace trident
