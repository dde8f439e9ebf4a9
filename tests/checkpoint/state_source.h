#pragma once

#include <array>
#include <span>
#include <vector>

#include "checkpoint/rank_file.h"

namespace trident::testing {

/// A rank's flat arrays, by StateKind.
template <class T>
using StateArrays = std::array<std::vector<T>, kStateKinds>;

/// Gives write_rank_file() the arrays, which outlive it.
template <class T>
StateSource source_of(const StateArrays<T>& arrays) {
  return [&arrays](StateKind kind, int64_t begin, int64_t count) {
    return std::as_bytes(std::span(arrays[static_cast<size_t>(kind)]))
        .subspan(static_cast<size_t>(begin), static_cast<size_t>(count));
  };
}

}  // namespace trident::testing
