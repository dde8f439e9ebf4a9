#pragma once

#include <gtest/gtest.h>

#include <bit>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "checkpoint/checkpoint_reader.h"
#include "tests/checkpoint/split_checkpoint.h"

namespace trident::testing {

/// Elements of `block` that are not, bit for bit, those that `saved` wrote, its dtype being T's.
template <class T>
int64_t wrong_elements(CheckpointReader& reader, const SplitCheckpoint& saved, StateKind kind, size_t tensor,
                       const LogicalBlock& block) {
  using Bits = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;
  std::vector<T> values(static_cast<size_t>(block.elements()), T{123});
  reader.read(kind, reader.find(saved.tensors[tensor].name), block, std::span<T>(values));
  const int64_t columns = whole_block(saved.tensors[tensor].shape).columns;
  int64_t wrong = 0;
  for (int64_t i = 0; i < block.elements(); ++i) {
    const int64_t place = (block.row0 + i / block.columns) * columns + block.column0 + i % block.columns;
    wrong += std::bit_cast<Bits>(values[static_cast<size_t>(i)]) != saved.bits(kind, tensor, place) ? 1 : 0;
  }
  return wrong;
}

/// Of all tensors and states, read whole.
inline int64_t wrong_elements(CheckpointReader& reader, const SplitCheckpoint& saved) {
  int64_t wrong = 0;
  for (size_t tensor = 0; tensor < saved.tensors.size(); ++tensor) {
    for (int kind = 0; kind < (saved.moments ? kStateKinds : 1); ++kind) {
      const LogicalBlock whole = whole_block(saved.tensors[tensor].shape);
      wrong += saved.dtype == DType::fp32
                   ? wrong_elements<float>(reader, saved, static_cast<StateKind>(kind), tensor, whole)
                   : wrong_elements<double>(reader, saved, static_cast<StateKind>(kind), tensor, whole);
    }
  }
  return wrong;
}

}  // namespace trident::testing
