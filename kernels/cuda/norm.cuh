#pragma once

#include "kernels/cuda/norm.h"
#include "kernels/cuda/row_access.cuh"

// Rows of whole, aligned packs stay in registers from their statistics to their output, so that memory is read once.
// All others take the `any` kernels, which read them again, element by element.
namespace trident::cuda::norm {

inline constexpr int kMaxWarps = 32;
inline constexpr int kThreads = 256;  ///< of a block of the `any` kernels

template <class A>
struct RowStats {
  A mean, inverse;
};

template <class T>
[[nodiscard]] T* data_or_null(const Tensor& tensor) {
  return tensor.defined() ? data_of<T>(tensor) : nullptr;
}

// Half of what int holds, so that an index one stride behind the end is one too.
[[nodiscard]] inline int rows_of(const Tensor& x) {
  TRIDENT_CHECK(x.rows() <= int64_t{1} << 30);
  return static_cast<int>(x.rows());
}
[[nodiscard]] inline int columns_of(const Tensor& x) {
  TRIDENT_CHECK(x.columns() <= int64_t{1} << 30);
  return static_cast<int>(x.columns());
}

/// Packs of a row if all its memory may be read in packs, else 0.
template <class T>
[[nodiscard]] int whole_packs(int columns, std::initializer_list<const void*> pointers) {
  return aligned(pointers) && columns % Pack<T>::kSize == 0 ? columns / Pack<T>::kSize : 0;
}

[[nodiscard]] inline unsigned threads_for(int packs, int packs_per_thread) {
  return static_cast<unsigned>(divide_up(divide_up(packs, packs_per_thread), kWarp) * kWarp);
}

}  // namespace trident::cuda::norm
