#pragma once

#include <CLI/CLI.hpp>

#include <string>

namespace trident {

/// One or two lines for a command line that does not parse: what is wrong, the nearest legal word, where help is.
[[nodiscard]] std::string usage_problem(const CLI::App& program, const CLI::ParseError& error, int argc, char** argv);

}  // namespace trident
