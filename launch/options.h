#pragma once

#include <string>
#include <vector>

#include "core/dtype.h"
#include "launch/command_line.h"

namespace trident {

/// Adds an option that takes one of `allowed`.
void add_dtype(Verb& verb, const std::string& name, DType& dtype, const std::vector<DType>& allowed,
               const std::string& help);

/// Adds --precision fp64|fp32|bf16 to a verb.
void add_precision(Verb& verb, DType& precision);

/// Adds --threads; 0 means one per processor.
void add_threads(Verb& verb, int& threads);

}  // namespace trident
