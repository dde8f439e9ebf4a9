#include "core/tensor.h"

#include <utility>

namespace trident {

Tensor::Tensor(std::shared_ptr<Buffer> buffer, size_t byte_offset, Shape shape, DType dtype)
    : buffer_(std::move(buffer)), shape_(shape), dtype_(dtype) {
  TRIDENT_CHECK(buffer_ != nullptr);
  TRIDENT_CHECK(byte_offset + bytes() <= buffer_->bytes());
  if (buffer_->data() != nullptr) data_ = static_cast<std::byte*>(buffer_->data()) + byte_offset;
}

Tensor Tensor::borrow(void* data, Shape shape, DType dtype, Device device) {
  const size_t bytes = static_cast<size_t>(shape.elements()) * size_of(dtype);
  return {std::make_shared<Buffer>(data, bytes, device, nullptr), 0, shape, dtype};
}

Tensor Tensor::reshape(Shape shape) const {
  TRIDENT_CHECK(shape.elements() == elements(), shape_.to_string() + " as " + shape.to_string());
  Tensor view = *this;
  view.shape_ = shape;
  return view;
}

Tensor Tensor::flat_view(int64_t begin, Shape shape) const {
  TRIDENT_CHECK(begin >= 0 && begin + shape.elements() <= elements());
  Tensor view = *this;
  view.shape_ = shape;
  if (data_ != nullptr) view.data_ = data_ + static_cast<size_t>(begin) * size_of(dtype_);
  return view;
}

Tensor Tensor::slice(int64_t begin, int64_t count) const {
  const int64_t outer = dim(0);
  TRIDENT_CHECK(begin >= 0 && count >= 0 && begin + count <= outer);
  const int64_t row = outer == 0 ? 0 : elements() / outer;
  return flat_view(begin * row, shape_.with(0, count));
}

}  // namespace trident
