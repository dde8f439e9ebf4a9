#pragma once

#include <cstdint>

#include "core/dtype.h"

namespace trident::cpu {

// Passes over rows of a strided matrix that come before and after products. `stride` counts elements from row to row.

/// to = from, bf16 widened or fp32 rounded.
void convert_rows(const bfloat16* from, int64_t from_stride, float* to, int64_t to_stride, int64_t rows,
                  int64_t columns);
void convert_rows(const float* from, int64_t from_stride, bfloat16* to, int64_t to_stride, int64_t rows,
                  int64_t columns);

/// Adds bias[columns] to every row.
void add_bias(float* data, int64_t stride, const float* bias, int64_t rows, int64_t columns);
void add_bias(double* data, int64_t stride, const double* bias, int64_t rows, int64_t columns);
void add_bias(float* data, int64_t stride, const bfloat16* bias, int64_t rows, int64_t columns);

/// sums[columns] += the rows, added in an order that depends on their number only.
void add_column_sums(const float* data, int64_t stride, int64_t rows, int64_t columns, float* sums);
void add_column_sums(const double* data, int64_t stride, int64_t rows, int64_t columns, double* sums);
void add_column_sums(const bfloat16* data, int64_t stride, int64_t rows, int64_t columns, float* sums);

}  // namespace trident::cpu
