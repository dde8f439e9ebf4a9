#pragma once

#include <span>
#include <string>

#include "train/metrics/ledger.h"
#include "train/metrics/straggler_spans.h"

namespace trident {

/// What the wall time went into: one bar with its legend. Empty where there is no wall time.
std::string ledger_section(const Ledger& ledger);

/// Ranks that worked longer than their peers. Empty where there are none.
std::string straggler_section(std::span<const StragglerSpan> stragglers);

}  // namespace trident
