#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

#include "core/error.h"

namespace trident {

/// Extents of a contiguous row-major tensor: at most four dimensions, outermost first.
class Shape {
 public:
  static constexpr int kMaxDims = 4;

  Shape() = default;
  Shape(std::initializer_list<int64_t> dims) : Shape(std::span(dims.begin(), dims.size())) {}
  explicit Shape(std::span<const int64_t> dims) {
    TRIDENT_CHECK(dims.size() <= kMaxDims);
    for (const int64_t extent : dims) {
      TRIDENT_CHECK(extent >= 0);
      dims_[static_cast<size_t>(rank_++)] = extent;
    }
  }

  [[nodiscard]] int rank() const { return rank_; }
  /// Extent of dimension `dim`; negative counts from the end.
  [[nodiscard]] int64_t operator[](int dim) const { return dims_[checked(dim)]; }
  [[nodiscard]] std::span<const int64_t> dims() const { return {dims_.data(), static_cast<size_t>(rank_)}; }
  [[nodiscard]] int64_t elements() const {
    int64_t product = 1;
    for (const int64_t extent : dims()) product *= extent;
    return product;
  }
  /// The same shape with dimension `dim` set to `extent`.
  [[nodiscard]] Shape with(int dim, int64_t extent) const {
    Shape copy = *this;
    copy.dims_[checked(dim)] = extent;
    return copy;
  }
  [[nodiscard]] std::string to_string() const {
    std::string text = "[";
    for (const int64_t extent : dims()) text += (text.size() > 1 ? ", " : "") + std::to_string(extent);
    return text + "]";
  }

  bool operator==(const Shape&) const = default;

 private:
  [[nodiscard]] size_t checked(int dim) const {
    const int index = dim < 0 ? dim + rank_ : dim;
    TRIDENT_CHECK(index >= 0 && index < rank_);
    return static_cast<size_t>(index);
  }

  std::array<int64_t, kMaxDims> dims_{};
  int rank_ = 0;
};

}  // namespace trident
