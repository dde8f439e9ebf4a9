#pragma once

#include <fmt/format.h>

#include <string_view>

#include "core/error.h"
#include "core/tensor.h"

namespace trident::cpu {

/// Throws Error(ErrorCode::bad_data) for the first of `indices` (int32) outside [lowest, size). Before any work starts,
/// so that outputs stay untouched and the message does not depend on the threads.
inline void check_indices(std::string_view component, std::string_view what, const Tensor& indices, int64_t lowest,
                          int64_t size) {
  const auto* data = indices.data<int32_t>();
  for (int64_t i = 0; i < indices.elements(); ++i) {
    if (data[i] >= lowest && data[i] < size) continue;
    throw Error(ErrorCode::bad_data, std::string(component),
                fmt::format("{} {} at row {} is outside [{}, {})", what, data[i], i, lowest, size),
                "check that the data was prepared with this model's tokenizer");
  }
}

}  // namespace trident::cpu
