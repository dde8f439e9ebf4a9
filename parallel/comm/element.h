#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "core/tensor.h"

namespace trident {

enum class ReduceOp { sum, max };

/// What a buffer that travels consists of: the tensors' dtypes, and int64 for host bookkeeping.
enum class Element : uint8_t { fp64, fp32, bf16, int32, int64 };

[[nodiscard]] constexpr size_t size_of(Element element) {
  switch (element) {
    case Element::fp64:
    case Element::int64: return 8;
    case Element::fp32:
    case Element::int32: return 4;
    case Element::bf16: return 2;
  }
  return 0;
}

[[nodiscard]] constexpr std::string_view to_string(Element element) {
  constexpr std::string_view names[] = {"fp64", "fp32", "bf16", "int32", "int64"};
  return names[static_cast<size_t>(element)];
}

[[nodiscard]] constexpr Element element_of(DType dtype) {
  switch (dtype) {
    case DType::fp64: return Element::fp64;
    case DType::fp32: return Element::fp32;
    case DType::bf16: return Element::bf16;
    case DType::int32: return Element::int32;
  }
  return Element::fp32;
}

/// The memory of a collective call: a tensor (kept alive until the call has finished) or a span, which the caller
/// keeps alive. Implicit, so that both are written as plain arguments.
class CommBuffer {
 public:
  CommBuffer() = default;
  CommBuffer(const Tensor& tensor)  // NOLINT(google-explicit-constructor)
      : data_(static_cast<std::byte*>(tensor.raw())),
        count_(tensor.elements()),
        element_(element_of(tensor.dtype())),
        device_(tensor.device()),
        owner_(tensor) {}
  CommBuffer(std::span<double> span)  // NOLINT(google-explicit-constructor)
      : CommBuffer(span.data(), span.size(), Element::fp64) {}
  CommBuffer(std::span<int64_t> span)  // NOLINT(google-explicit-constructor)
      : CommBuffer(span.data(), span.size(), Element::int64) {}
  CommBuffer(std::span<const double> span)  // NOLINT(google-explicit-constructor)
      : CommBuffer(const_cast<double*>(span.data()), span.size(), Element::fp64) {}
  CommBuffer(std::span<const int64_t> span)  // NOLINT(google-explicit-constructor)
      : CommBuffer(const_cast<int64_t*>(span.data()), span.size(), Element::int64) {}

  [[nodiscard]] std::byte* data() const { return data_; }
  [[nodiscard]] int64_t count() const { return count_; }
  [[nodiscard]] Element element() const { return element_; }
  [[nodiscard]] Device device() const { return device_; }
  [[nodiscard]] size_t bytes() const { return static_cast<size_t>(count_) * size_of(element_); }

 private:
  CommBuffer(void* data, size_t count, Element element)
      : data_(static_cast<std::byte*>(data)), count_(static_cast<int64_t>(count)), element_(element) {}

  std::byte* data_ = nullptr;
  int64_t count_ = 0;
  Element element_ = Element::fp32;
  Device device_;
  Tensor owner_;
};

}  // namespace trident
