#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "launch/fault.h"

namespace trident {

/// One fault that was made to happen.
struct Injection {
  std::string fault;  ///< as to_text() gives it, which names it within a run
  int64_t epoch = 0;
  int rank = 0;
  int64_t steady_ns = 0;  ///< the same clock in all processes of a node
  double wall_s = 0;      ///< since 1970
  std::string host{};     ///< of which those are the clocks
};

/// Whom a fault happens to.
struct Victim {
  int rank = -1;  ///< -1: a node
  std::string host{};
};

/// A line just before each fault: who looks for its consequences knows when it came, and a fault that is to happen once
/// is known to have happened. Errors never stop a fault.
void append_injection(const std::filesystem::path& journal, const InjectedFault& fault, int64_t epoch,
                      const Victim& victim);

/// In file order; none where there is no file.
[[nodiscard]] std::vector<Injection> read_injections(const std::filesystem::path& journal);

}  // namespace trident
