#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <functional>
#include <ostream>
#include <string>
#include <tuple>

#include "core/allocator.h"
#include "core/error.h"
#include "core/tensor.h"
#include "parallel/comm/communicator.h"

/// What the suites of communication share: the values that ranks give, what must come of them, and what a case is.
namespace trident::comm_suite {

/// The error that a run of ranks ends with.
inline Error error_of(const std::function<void()>& run) {
  try {
    run();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "no error";
  return {ErrorCode::internal, "", ""};
}

/// A function of one rank; some get the rank's device too.
template <class... Device>
struct SuiteCase {
  const char* name;
  void (*run)(const Communicator& world, Device&... device);
};

template <class... Device>
void PrintTo(const SuiteCase<Device...>& suite_case, std::ostream* out) {
  *out << suite_case.name;
}

/// "AllReducesOn4", for parameters that begin with a case and a number of ranks.
struct NameOnRanks {
  template <class Test>
  std::string operator()(const Test& test) const {
    return std::string(std::get<0>(test.param).name) + "On" + std::to_string(std::get<1>(test.param));
  }
};

inline constexpr DType kDTypes[] = {DType::fp64, DType::fp32, DType::bf16, DType::int32};

inline Tensor make_tensor(int64_t elements, DType dtype) {
  HeapAllocator heap;
  return heap.allocate(Shape{elements}, dtype);
}

inline double get(const Tensor& tensor, int64_t i) {
  switch (tensor.dtype()) {
    case DType::fp64: return tensor.data<double>()[i];
    case DType::fp32: return tensor.data<float>()[i];
    case DType::bf16: return static_cast<double>(static_cast<float>(tensor.data<bfloat16>()[i]));
    case DType::int32: return tensor.data<int32_t>()[i];
  }
  return 0;
}

inline void set(const Tensor& tensor, int64_t i, double value) {
  switch (tensor.dtype()) {
    case DType::fp64: tensor.data<double>()[i] = value; break;
    case DType::fp32: tensor.data<float>()[i] = static_cast<float>(value); break;
    case DType::bf16: tensor.data<bfloat16>()[i] = bfloat16(static_cast<float>(value)); break;
    case DType::int32: tensor.data<int32_t>()[i] = static_cast<int32_t>(value); break;
  }
}

/// A value of (rank, index) that all dtypes hold. With `rough`, floating-point sums of it round.
inline double value(int rank, int64_t i, DType dtype, bool rough) {
  const auto hash =
      static_cast<double>((static_cast<uint64_t>(i) * 2654435761u + static_cast<uint64_t>(rank) * 40503u) % 127);
  return dtype == DType::int32 || !rough ? hash : hash / 64 * std::ldexp(1.0, rank % 5);
}

inline void fill(const Tensor& tensor, int rank, bool rough = false) {
  for (int64_t i = 0; i < tensor.elements(); ++i) set(tensor, i, value(rank, i, tensor.dtype(), rough));
}

/// The reference: ranks in order, in the dtype's accumulator, rounded once.
inline double reduced(const Tensor& like, int ranks, int64_t i, ReduceOp op, bool rough) {
  Tensor scratch = make_tensor(1, like.dtype());
  const auto rounded = [&](double v) {
    set(scratch, 0, v);
    return get(scratch, 0);
  };
  if (op == ReduceOp::max) {
    double best = rounded(value(0, i, like.dtype(), rough));
    for (int r = 1; r < ranks; ++r) best = std::max(best, rounded(value(r, i, like.dtype(), rough)));
    return best;
  }
  if (like.dtype() == DType::fp64) {
    double sum = value(0, i, like.dtype(), rough);
    for (int r = 1; r < ranks; ++r) sum += value(r, i, like.dtype(), rough);
    return sum;
  }
  auto sum = static_cast<float>(rounded(value(0, i, like.dtype(), rough)));
  for (int r = 1; r < ranks; ++r) sum += static_cast<float>(rounded(value(r, i, like.dtype(), rough)));
  return rounded(sum);
}

/// Counts differences itself: one EXPECT per element would be slow.
inline void expect_all(const Tensor& tensor, const std::string& what, const std::function<double(int64_t)>& expected) {
  int64_t wrong = 0, first = -1;
  for (int64_t i = 0; i < tensor.elements(); ++i) {
    if (get(tensor, i) == expected(i)) continue;
    if (wrong++ == 0) first = i;
  }
  EXPECT_EQ(wrong, 0) << what << ": " << wrong << " of " << tensor.elements() << " differ, first at " << first << ": "
                      << get(tensor, first) << ", expected " << expected(first);
}

inline std::string label(const char* op, int64_t n, DType dtype) {
  return std::string(op) + " of " + std::to_string(n) + " " + std::string(to_string(dtype));
}

/// Elements to look at in large buffers: computing the reference everywhere would take long.
inline int64_t sampled(int64_t n) { return std::min<int64_t>(n, 6000); }

}  // namespace trident::comm_suite
