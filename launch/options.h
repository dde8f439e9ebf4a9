#pragma once

#include <CLI/CLI.hpp>

#include "core/dtype.h"

namespace trident {

/// Adds --precision fp64|fp32|bf16 to a verb.
void add_precision(CLI::App& verb, DType& precision);

/// Adds --threads; 0 means one per processor.
void add_threads(CLI::App& verb, int& threads);

}  // namespace trident
