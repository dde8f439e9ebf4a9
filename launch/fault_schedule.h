#pragma once

#include <string>
#include <vector>

#include "launch/fault.h"

namespace trident {

/// The job that a schedule is for.
struct FaultScope {
  int ranks = 1;
  int nodes = 1;
  /// Another rank holds the same summed gradient. Where none does, a changed bit of it that stays finite is found by
  /// nobody.
  bool gradients_have_copies = true;
};

/// Reads a schedule of faults (docs/fault-tolerance.md) for a job: those that it lists, and those that it has drawn,
/// which are the same for a seed and a job. Sorted by step. Throws ConfigErrors with every
/// problem at once, or Error(input_missing) where there is no such file.
[[nodiscard]] std::vector<InjectedFault> load_fault_schedule(const std::string& path, const FaultScope& job);

/// The same for a text; `file_name` stands in messages.
[[nodiscard]] std::vector<InjectedFault> parse_fault_schedule(const std::string& text, const std::string& file_name,
                                                              const FaultScope& job);

}  // namespace trident
