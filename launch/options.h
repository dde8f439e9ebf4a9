#pragma once

#include <CLI/CLI.hpp>

#include <string>
#include <vector>

#include "core/dtype.h"

namespace trident {

/// Adds an option that takes one of `allowed`.
void add_dtype(CLI::App& verb, const std::string& name, DType& dtype, const std::vector<DType>& allowed,
               const std::string& help);

/// Adds --precision fp64|fp32|bf16 to a verb.
void add_precision(CLI::App& verb, DType& precision);

/// Adds --threads; 0 means one per processor.
void add_threads(CLI::App& verb, int& threads);

}  // namespace trident
