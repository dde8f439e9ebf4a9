#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace trident {

/// A plot of braille dots for the terminal, `columns` by `rows` characters (two by four dots each), with the scale at
/// the left and the steps below. Values that are not finite leave gaps; with none finite the text is empty.
std::string braille_plot(std::span<const std::int64_t> steps, std::span<const double> values, int columns, int rows);

}  // namespace trident
