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

/// Adds the words that name a job: its file, and values that replace the file's.
void add_job(Verb& verb, std::string& file, std::vector<std::string>& overrides);

/// Adds the word that names a model to compute with.
void add_model(Verb& verb, std::string& model);

/// Adds --json.
void add_json(Verb& verb, bool& json);

/// Adds --threads; 0 means one per processor.
void add_threads(Verb& verb, int& threads);

}  // namespace trident
