#pragma once

#include <string>
#include <vector>

#include "parallel/comm/communicator.h"

namespace trident {

/// Every rank's text, by rank. Collective; texts may differ in length.
[[nodiscard]] std::vector<std::string> all_gather_text(const Communicator& comm, const std::string& text);

/// Every rank's text, by rank, on rank `root`; nothing elsewhere. Collective.
[[nodiscard]] std::vector<std::string> gather_text(const Communicator& comm, const std::string& text, int root = 0);

/// Rank `root`'s text on every rank. Collective.
[[nodiscard]] std::string broadcast_text(const Communicator& comm, const std::string& text, int root = 0);

}  // namespace trident
