#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "core/error.h"

namespace trident {

/// Every process lives, but one computes, or has computed, something wrong. All ranks find the same and throw it
/// together, so whoever supervises them need only hear one.
class StateFault final : public Error {
 public:
  enum class Kind : uint32_t {
    not_finite,  ///< loss or gradients are no numbers
    corrupted,   ///< bits have changed that nothing wrote
  };
  /// `rank` -1: it cannot be told which. `step`: that was being done.
  StateFault(Kind kind, int rank, int64_t step, std::string problem, std::string remedy)
      : Error(kind == Kind::not_finite ? ErrorCode::diverged : ErrorCode::internal, "training", std::move(problem),
              std::move(remedy)),
        kind_(kind),
        rank_(rank),
        step_(step) {}

  [[nodiscard]] Kind kind() const { return kind_; }
  [[nodiscard]] int rank() const { return rank_; }
  [[nodiscard]] int64_t step() const { return step_; }

 private:
  Kind kind_;
  int rank_;
  int64_t step_;
};

}  // namespace trident
