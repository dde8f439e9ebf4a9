#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <memory>

#include "core/device.h"
#include "core/dtype.h"
#include "core/shape.h"

namespace trident {

/// A piece of memory with one owner list; the last tensor on it gives it back.
class Buffer {
 public:
  using Release = std::function<void(void*)>;
  Buffer(void* data, size_t bytes, Device device, Release release)
      : data_(data), bytes_(bytes), device_(device), release_(std::move(release)) {}
  ~Buffer() {
    if (release_) release_(data_);
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  [[nodiscard]] void* data() const { return data_; }
  [[nodiscard]] size_t bytes() const { return bytes_; }
  [[nodiscard]] Device device() const { return device_; }

 private:
  void* data_;
  size_t bytes_;
  Device device_;
  Release release_;
};

/// A contiguous row-major view on a shared buffer. Copies share the memory. Knows no gradient.
class Tensor {
 public:
  Tensor() = default;
  Tensor(std::shared_ptr<Buffer> buffer, size_t byte_offset, Shape shape, DType dtype);

  /// A view on memory that the caller keeps alive.
  static Tensor borrow(void* data, Shape shape, DType dtype, Device device = Device::cpu());

  /// False for a default-constructed or released tensor.
  [[nodiscard]] bool defined() const { return buffer_ != nullptr; }
  void reset() { *this = Tensor(); }

  [[nodiscard]] const Shape& shape() const { return shape_; }
  [[nodiscard]] int64_t dim(int index) const { return shape_[index]; }
  [[nodiscard]] int64_t elements() const { return shape_.elements(); }
  [[nodiscard]] size_t bytes() const { return static_cast<size_t>(elements()) * size_of(dtype_); }
  [[nodiscard]] DType dtype() const { return dtype_; }
  [[nodiscard]] Device device() const { return buffer_ ? buffer_->device() : Device::cpu(); }

  /// Rows and columns with all leading dimensions folded into rows.
  [[nodiscard]] int64_t rows() const { return shape_.rank() == 0 ? 1 : elements() / std::max<int64_t>(1, columns()); }
  [[nodiscard]] int64_t columns() const { return shape_.rank() == 0 ? 1 : shape_[-1]; }

  [[nodiscard]] void* raw() const { return data_; }
  /// Typed pointer; null on the meta device. T must be the tensor's dtype.
  template <class T>
  [[nodiscard]] T* data() const {
    TRIDENT_CHECK(dtype_ == DTypeOf<std::remove_const_t<T>>::value, "dtype is " + std::string(to_string(dtype_)));
    return static_cast<T*>(raw());
  }

  /// The same memory with another shape of as many elements.
  [[nodiscard]] Tensor reshape(Shape shape) const;
  /// Elements [begin, begin + shape.elements()) of the flat memory, as `shape`.
  [[nodiscard]] Tensor flat_view(int64_t begin, Shape shape) const;
  /// Rows [begin, begin + count) of the outermost dimension.
  [[nodiscard]] Tensor slice(int64_t begin, int64_t count) const;

 private:
  std::shared_ptr<Buffer> buffer_;
  std::byte* data_ = nullptr;
  Shape shape_;
  DType dtype_ = DType::fp32;
};

}  // namespace trident
