#pragma once

#include "core/device.h"
#include "core/tensor.h"

namespace trident {

/// out = a + b; out may be the same memory as either.
void add(const Stream& stream, const Tensor& a, const Tensor& b, Tensor& out);

/// accumulator += x, both of the accumulation dtype.
void accumulate(const Stream& stream, const Tensor& x, Tensor& accumulator);

/// Converts between floating-point dtypes, rounding to nearest even.
void cast(const Stream& stream, const Tensor& from, Tensor& to);

}  // namespace trident
