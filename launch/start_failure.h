#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "launch/verdict.h"

namespace trident {

/// Whether mpirun's own words may say why: it ended by itself, or a rank left before it had joined the others.
[[nodiscard]] bool is_mpirun_to_be_heard(const Verdict& verdict, const GangState& gang);

/// Says in the verdict what helps where ranks did not start, or left while they did, and on which host, where mpirun's
/// `words`, which stand above it, name the rank. `lack`: of shared memory, in words.
void explain_start_failure(Verdict& verdict, const GangState& gang, std::string_view words,
                           const std::optional<std::string>& lack);

}  // namespace trident
