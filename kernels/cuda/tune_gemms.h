#pragma once

#include <chrono>
#include <string>

#include "kernels/gemm_tuning.h"

/// GPUs' part of kernels/gemm_tuning.h.
namespace trident::cuda {

void follow_gemm_choices(const Stream& stream, const GemmChoices& choices);
/// Waits for the device.
[[nodiscard]] GemmChoices tune_gemms(const Stream& stream, const GemmProducts& products, const GemmChoices& known,
                                     std::chrono::milliseconds budget);
/// What choices on the device depend on: its model and cuBLASLt's version.
[[nodiscard]] std::string gemm_identity(Device device);

}  // namespace trident::cuda
