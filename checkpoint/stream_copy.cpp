#include "checkpoint/stream_copy.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "core/error.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace trident {
namespace {

void copy(std::byte* to, const std::byte* from, size_t bytes) {
  if (bytes > 0) std::memcpy(to, from, bytes);
}

#if defined(__SSE2__)
constexpr size_t kLine = 64;

/// memcpy() streams too, but only from a size on that is larger than most pieces where the last cache is large.
void stream_lines(std::byte* to, const std::byte* from, size_t bytes) {
  for (size_t at = 0; at < bytes; at += kLine) {
    const auto* source = reinterpret_cast<const __m128i*>(from + at);
    auto* target = reinterpret_cast<__m128i*>(to + at);
    const __m128i first = _mm_loadu_si128(source);
    const __m128i second = _mm_loadu_si128(source + 1);
    const __m128i third = _mm_loadu_si128(source + 2);
    const __m128i fourth = _mm_loadu_si128(source + 3);
    _mm_stream_si128(target, first);
    _mm_stream_si128(target + 1, second);
    _mm_stream_si128(target + 2, third);
    _mm_stream_si128(target + 3, fourth);
  }
  _mm_sfence();  // streaming stores follow no order of themselves; who is told that the copy is done must see it
}
#endif

}  // namespace

void stream_copy(std::span<std::byte> to, std::span<const std::byte> from) {
  TRIDENT_CHECK(to.size() >= from.size());
#if defined(__SSE2__)
  const size_t misaligned = reinterpret_cast<uintptr_t>(to.data()) % kLine;
  const size_t head = std::min(from.size(), misaligned == 0 ? 0 : kLine - misaligned);
  const size_t body = (from.size() - head) / kLine * kLine;
  copy(to.data(), from.data(), head);
  stream_lines(to.data() + head, from.data() + head, body);
  copy(to.data() + head + body, from.data() + head + body, from.size() - head - body);
#else
  copy(to.data(), from.data(), from.size());
#endif
}

}  // namespace trident
