#pragma once

#include <cstdint>

#include "parallel/pipeline/schedule.h"

namespace trident::pipeline {

// The generators: pure functions of p ranks, m microbatches and v stages per rank. Every stage runs its weight
// gradients in microbatch order. Bubbles are for p <= m with forward F, input gradient I and weight gradient W per rank
// and microbatch; M is what one microbatch leaves behind on one rank.

/// All forwards, then all backwards. Bubble (p-1)(F+I+W), memory m M. (Huang et al. 2019)
[[nodiscard]] Schedule gpipe(int32_t p, int32_t m);

/// One forward, one backward after a warm-up. Bubble (p-1)(F+I+W), memory p M. (Narayanan et al. 2019)
[[nodiscard]] Schedule one_f_one_b(int32_t p, int32_t m);

/// 1F1B over v stages per rank, in Megatron's order: groups of at least p microbatches pass each of a rank's stages in
/// turn. Bubble (p-1)(F+I+W)/v, memory (p + (p-1)/v) M. Needs m >= p, except for v = 1, which is 1F1B.
/// (Narayanan et al. 2021)
[[nodiscard]] Schedule interleaved(int32_t p, int32_t v, int32_t m);

/// 1F1B with split backward; rank s keeps s weight gradients deferred. Bubble (p-1)(F+I-W), memory p M.
/// (Qi et al. 2024)
[[nodiscard]] Schedule zb_h1(int32_t p, int32_t m);

/// Two stages per rank, placed like a V, so that the first rank also has the last stage. No bubble for F = I = W and
/// m >= 2p-1, memory p M on every rank. (Qi et al. 2024, "controllable memory")
[[nodiscard]] Schedule zb_v(int32_t p, int32_t m);

/// Forwards alone, of m microbatches through the stages as `like` places them: for evaluation. Groups of p microbatches
/// pass each of a rank's stages in turn.
[[nodiscard]] Schedule forwards(const Schedule& like, int32_t m);

}  // namespace trident::pipeline
