#include "checkpoint/digest.h"

#include <algorithm>
#include <bit>

#include "core/error.h"

namespace trident {
namespace {

// An odd key for every place: the finalizer of MurmurHash3 (Appleby, public domain) of the place. A sum of bits times
// keys (multilinear hashing; Lemire and Kaser, "Strongly universal string hashing is fast", 2014, section 3) changes
// with every change of one element, since an odd number times a difference is not zero modulo 2^64.
inline uint64_t key_of(uint64_t place) {
  place ^= place >> 33;
  place *= 0xff51afd7ed558ccdULL;
  place ^= place >> 33;
  place *= 0xc4ceb9fe1a85ec53ULL;
  return (place ^ (place >> 33)) | 1;
}

#if defined(__x86_64__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define TRIDENT_FOR_EVERY_CPU __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define TRIDENT_FOR_EVERY_CPU
#endif

TRIDENT_FOR_EVERY_CPU uint64_t sum32(const uint32_t* bits, int64_t count, uint64_t place) {
  uint64_t sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += bits[i] * key_of(place + static_cast<uint64_t>(i));
  return sum;
}

TRIDENT_FOR_EVERY_CPU uint64_t sum64(const uint64_t* bits, int64_t count, uint64_t place) {
  uint64_t sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += bits[i] * key_of(place + static_cast<uint64_t>(i));
  return sum;
}

}  // namespace

uint64_t digest_of(std::span<const std::byte> values, DType dtype, const LogicalBlock& block, int64_t columns) {
  return digest_of(values, dtype, block, columns, 0, block.elements());
}

uint64_t digest_of(std::span<const std::byte> values, DType dtype, const LogicalBlock& block, int64_t columns,
                   int64_t begin, int64_t count) {
  TRIDENT_CHECK(dtype == DType::fp32 || dtype == DType::fp64);
  TRIDENT_CHECK(begin >= 0 && begin + count <= block.elements());
  TRIDENT_CHECK(values.size() == static_cast<size_t>(count) * size_of(dtype));
  uint64_t sum = 0;
  const std::byte* at = values.data();
  for (int64_t end = begin + count; begin < end;) {
    const int64_t row = begin / block.columns, column = begin % block.columns;
    // Whole rows of the tensor lie one behind the other.
    const int64_t run =
        block.columns == columns ? end - begin : std::min(end - begin, block.columns - column);
    const auto place = static_cast<uint64_t>((block.row0 + row) * columns + block.column0 + column);
    sum += dtype == DType::fp32 ? sum32(reinterpret_cast<const uint32_t*>(at), run, place)
                                : sum64(reinterpret_cast<const uint64_t*>(at), run, place);
    at += static_cast<size_t>(run) * size_of(dtype);
    begin += run;
  }
  return sum;
}

}  // namespace trident
