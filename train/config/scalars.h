#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "train/config/job_config.h"

// Text of single values, both ways. Stricter than YAML: no leading zeros, underscores, hexadecimal, infinities.

namespace trident::config {

/// What reading found: a value, or why there is none ("010 has a leading zero").
template <class T>
struct Parsed {
  std::optional<T> value;
  std::string reason;
};

Parsed<bool> parse_bool(std::string_view text);
Parsed<int64_t> parse_integer(std::string_view text);
/// An integer, or a decimal number with k, M, B or T (powers of 1000) that makes a whole number.
Parsed<int64_t> parse_count(std::string_view text);
Parsed<double> parse_number(std::string_view text);
/// A decimal number with ms, s, m, h or d.
Parsed<Seconds> parse_duration(std::string_view text);

/// Shortest text that reads back as the same value, in the form that PyYAML too takes for a float: `1.0e-05`.
std::string format_number(double value);
std::string format_duration(Seconds value);
/// Plain where every YAML reader takes the text for a string, else in double quotes.
std::string format_text(std::string_view value);
std::string format_resume(const Resume& resume);

}  // namespace trident::config
