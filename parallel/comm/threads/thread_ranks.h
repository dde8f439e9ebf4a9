#pragma once

#include <chrono>
#include <functional>

#include "parallel/comm/communicator.h"

namespace trident {

struct ThreadRanksOptions {
  CommOptions comm;
  /// The whole run; after it every rank that communicates fails, and a rank that does not is fatal to the process.
  std::chrono::milliseconds watchdog = std::chrono::minutes(4);
  /// Pretend that every so many ranks are a node of their own (place() says so); 0: one node.
  int ranks_per_node = 0;
  /// Pretend that ranks reach one another's memory in tensors from allocate_shared() only, as processes do.
  bool private_memory = false;
};

/// Runs `rank_main` on `ranks` threads of this process, each with its end of one world, and returns when all have
/// returned. If one throws, the others fail at their next call, and its exception, with the rank's number, is thrown
/// here.
void run_ranks(int ranks, const std::function<void(Communicator world)>& rank_main,
               const ThreadRanksOptions& options = {});

}  // namespace trident
