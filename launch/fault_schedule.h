#pragma once

#include <string>
#include <vector>

#include "launch/fault.h"

namespace trident {

/// Reads a schedule of faults (docs/fault-tolerance.md) for a job of so many ranks: those that it lists, and those that
/// it has drawn, which are the same for a seed and a number of ranks. Sorted by step. Throws ConfigErrors with every
/// problem at once, or Error(input_missing) where there is no such file.
[[nodiscard]] std::vector<InjectedFault> load_fault_schedule(const std::string& path, int ranks);

/// The same for a text; `file_name` stands in messages.
[[nodiscard]] std::vector<InjectedFault> parse_fault_schedule(const std::string& text, const std::string& file_name,
                                                              int ranks);

}  // namespace trident
