#pragma once

#include "parallel/pipeline/schedule.h"

namespace trident::pipeline {

struct LowerOptions {
  /// The first and the last stage share the embedding: once both have all their weight gradients, REDUCE_TIED on both
  /// (on two ranks: an exchange; on one: a local sum, at the first stage only).
  bool tied_embedding = false;
};

/// Adds communication in one walk over all ranks: a send and its receive are appended together when the value exists,
/// so that every rank's list is a projection of one total order. Hence no order of blocking sends and receives can
/// deadlock. Stages on one rank hand over without communication. Throws Error (config), naming the action, where
/// `schedule` cannot run to its end.
[[nodiscard]] Schedule lower(const Schedule& schedule, const LowerOptions& options = {});

}  // namespace trident::pipeline
