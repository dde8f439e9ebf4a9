// Plain loops, compiled for every instruction set by Highway's foreach_target.h and vectorised by the compiler: they
// only move and add.
#include "kernels/cpu/rows.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/rows.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <type_traits>

HWY_BEFORE_NAMESPACE();
namespace trident::cpu::HWY_NAMESPACE {

template <class From, class To>
HWY_INLINE void convert(const From* HWY_RESTRICT from, int64_t from_stride, To* HWY_RESTRICT to, int64_t to_stride,
                        int64_t rows, int64_t columns) {
  for (int64_t row = 0; row < rows; ++row, from += from_stride, to += to_stride) {
    for (int64_t i = 0; i < columns; ++i) to[i] = static_cast<To>(from[i]);
  }
}

template <class T, class Bias>
HWY_INLINE void add_to_rows(T* HWY_RESTRICT data, int64_t stride, const Bias* HWY_RESTRICT bias, int64_t rows,
                            int64_t columns) {
  for (int64_t row = 0; row < rows; ++row, data += stride) {
    for (int64_t i = 0; i < columns; ++i) data[i] += static_cast<T>(bias[i]);
  }
}

/// Groups of rows are summed before they are added: fewer terms meet a large sum, so that less is rounded away.
template <class T, class Sum>
HWY_INLINE void sum_columns(const T* data, int64_t stride, int64_t rows, int64_t columns, Sum* HWY_RESTRICT sums) {
  constexpr int64_t kGroup = 64;
  constexpr int64_t kColumns = 128;
  Sum group[kColumns];
  for (int64_t begin = 0; begin < columns; begin += kColumns) {
    const int64_t width = std::min(kColumns, columns - begin);
    for (int64_t first = 0; first < rows; first += kGroup) {
      std::fill_n(group, width, Sum(0));
      for (int64_t row = first; row < std::min(rows, first + kGroup); ++row) {
        const T* HWY_RESTRICT values = data + row * stride + begin;
        for (int64_t i = 0; i < width; ++i) group[i] += static_cast<Sum>(values[i]);
      }
      for (int64_t i = 0; i < width; ++i) sums[begin + i] += group[i];
    }
  }
}

void widen(const bfloat16* from, int64_t from_stride, float* to, int64_t to_stride, int64_t rows, int64_t columns) {
  convert(from, from_stride, to, to_stride, rows, columns);
}
void narrow(const float* from, int64_t from_stride, bfloat16* to, int64_t to_stride, int64_t rows, int64_t columns) {
  convert(from, from_stride, to, to_stride, rows, columns);
}
void bias_fp32(float* data, int64_t stride, const float* bias, int64_t rows, int64_t columns) {
  add_to_rows(data, stride, bias, rows, columns);
}
void bias_fp64(double* data, int64_t stride, const double* bias, int64_t rows, int64_t columns) {
  add_to_rows(data, stride, bias, rows, columns);
}
void bias_bf16(float* data, int64_t stride, const bfloat16* bias, int64_t rows, int64_t columns) {
  add_to_rows(data, stride, bias, rows, columns);
}
void sums_fp32(const float* data, int64_t stride, int64_t rows, int64_t columns, float* sums) {
  sum_columns(data, stride, rows, columns, sums);
}
void sums_fp64(const double* data, int64_t stride, int64_t rows, int64_t columns, double* sums) {
  sum_columns(data, stride, rows, columns, sums);
}
void sums_bf16(const bfloat16* data, int64_t stride, int64_t rows, int64_t columns, float* sums) {
  sum_columns(data, stride, rows, columns, sums);
}

}  // namespace trident::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace trident::cpu {

HWY_EXPORT(widen);
HWY_EXPORT(narrow);
HWY_EXPORT(bias_fp32);
HWY_EXPORT(bias_fp64);
HWY_EXPORT(bias_bf16);
HWY_EXPORT(sums_fp32);
HWY_EXPORT(sums_fp64);
HWY_EXPORT(sums_bf16);

void convert_rows(const bfloat16* from, int64_t from_stride, float* to, int64_t to_stride, int64_t rows,
                  int64_t columns) {
  HWY_DYNAMIC_DISPATCH(widen)(from, from_stride, to, to_stride, rows, columns);
}
void convert_rows(const float* from, int64_t from_stride, bfloat16* to, int64_t to_stride, int64_t rows,
                  int64_t columns) {
  HWY_DYNAMIC_DISPATCH(narrow)(from, from_stride, to, to_stride, rows, columns);
}
void add_bias(float* data, int64_t stride, const float* bias, int64_t rows, int64_t columns) {
  HWY_DYNAMIC_DISPATCH(bias_fp32)(data, stride, bias, rows, columns);
}
void add_bias(double* data, int64_t stride, const double* bias, int64_t rows, int64_t columns) {
  HWY_DYNAMIC_DISPATCH(bias_fp64)(data, stride, bias, rows, columns);
}
void add_bias(float* data, int64_t stride, const bfloat16* bias, int64_t rows, int64_t columns) {
  HWY_DYNAMIC_DISPATCH(bias_bf16)(data, stride, bias, rows, columns);
}
void add_column_sums(const float* data, int64_t stride, int64_t rows, int64_t columns, float* sums) {
  HWY_DYNAMIC_DISPATCH(sums_fp32)(data, stride, rows, columns, sums);
}
void add_column_sums(const double* data, int64_t stride, int64_t rows, int64_t columns, double* sums) {
  HWY_DYNAMIC_DISPATCH(sums_fp64)(data, stride, rows, columns, sums);
}
void add_column_sums(const bfloat16* data, int64_t stride, int64_t rows, int64_t columns, float* sums) {
  HWY_DYNAMIC_DISPATCH(sums_bf16)(data, stride, rows, columns, sums);
}

}  // namespace trident::cpu
#endif  // HWY_ONCE
