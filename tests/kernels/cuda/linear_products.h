#pragma once

#include <string>

#include "tests/kernels/cuda/gpu.h"

namespace trident::testing {

/// Of a linear layer's three products.
struct LinearSizes {
  int64_t rows, in, out;
  [[nodiscard]] std::string name() const {
    return std::to_string(rows) + " x " + std::to_string(in) + " to " + std::to_string(out);
  }
};

/// On the host, rounded to the dtype.
struct LinearInputs {
  LinearInputs(const LinearSizes& sizes, DType dtype)
      : x(random_tensor({sizes.rows, sizes.in}, dtype, 1)),
        w(random_tensor({sizes.out, sizes.in}, dtype, 2)),
        bias(random_tensor({sizes.out}, dtype, 3)),
        dy(random_tensor({sizes.rows, sizes.out}, dtype, 4)),
        dw(random_tensor({sizes.out, sizes.in}, accumulation_dtype(dtype), 5)),
        dbias(random_tensor({sizes.out}, accumulation_dtype(dtype), 6)) {}
  Tensor x, w, bias, dy, dw, dbias;
};

struct LinearOutputs {
  Tensor y, y_with_bias, dx, dw, dbias;
};

inline void expect_equal_bits(const LinearOutputs& one, const LinearOutputs& other, const std::string& what) {
  EXPECT_TRUE(same_bits(one.y, other.y)) << what;
  EXPECT_TRUE(same_bits(one.y_with_bias, other.y_with_bias)) << what;
  EXPECT_TRUE(same_bits(one.dx, other.dx)) << what;
  EXPECT_TRUE(same_bits(one.dw, other.dw)) << what;
  EXPECT_TRUE(same_bits(one.dbias, other.dbias)) << what;
}

}  // namespace trident::testing
