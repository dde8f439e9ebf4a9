#pragma once

#include <optional>
#include <utility>

#include "core/error.h"

namespace trident::config {

/// A value that may be left to the program: `auto` in the job file.
template <class T>
class Auto {
 public:
  constexpr Auto() = default;
  constexpr Auto(T value) : value_(std::move(value)) {}  // NOLINT(google-explicit-constructor): reads as its value

  [[nodiscard]] constexpr bool is_auto() const { return !value_.has_value(); }
  [[nodiscard]] const T& value() const {
    TRIDENT_CHECK(value_.has_value(), "the key is still auto");
    return *value_;
  }
  [[nodiscard]] constexpr T value_or(T otherwise) const { return value_.value_or(std::move(otherwise)); }

  bool operator==(const Auto&) const = default;

 private:
  std::optional<T> value_;
};

}  // namespace trident::config
