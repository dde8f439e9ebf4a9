#pragma once

#include <cublasLt.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "kernels/cuda/state.h"
#include "kernels/gemm_tuning.h"

// Matrix products by cuBLASLt. It thinks in columns: a row-major matrix is the transpose of the same memory read in
// columns, so it computes Cᵀ = op(B)ᵀ·op(A)ᵀ, with our B as its first operand. Operands in fp8 must lie as form nt has
// them: A[m, k] and B[n, k].

namespace trident::cuda {

/// A product's memory, whose rows lie one behind the other.
struct GemmOperands {
  const void* a = nullptr;
  const void* b = nullptr;
  void* c = nullptr;               ///< of the accumulation dtype in form tn (gradients of weights)
  const void* bias = nullptr;      ///< [n], aligned to 16 bytes; where the key has a bias
  const float* a_scale = nullptr;  ///< in the device's memory, what fp8 operands' elements are multiplied with
  const float* b_scale = nullptr;
};

/// Bytes that an operand's address and rows are all multiples of, at most 16: kernels ask for no more.
struct GemmAlignment {
  uint32_t a = 16;
  uint32_t b = 16;
  uint32_t c = 16;

  /// With null operands, what the rows alone allow.
  static GemmAlignment of(const GemmKey& key, const GemmOperands& operands = {});
  bool operator==(const GemmAlignment&) const = default;
};

/// A product described to cuBLASLt.
class GemmProblem {
 public:
  GemmProblem(const GemmKey& key, const GemmAlignment& alignment);
  GemmProblem(const GemmProblem&) = delete;
  GemmProblem& operator=(const GemmProblem&) = delete;

  /// The algorithms that cuBLASLt proposes, the best first; all give the same bits every time.
  [[nodiscard]] std::vector<cublasLtMatmulAlgo_t> proposals(cublasLtHandle_t blas, int most);
  [[nodiscard]] bool accepts(cublasLtHandle_t blas, const cublasLtMatmulAlgo_t& algorithm);
  /// C = op(A)·op(B), plus the bias if the key has one, plus C if `accumulate`.
  cublasStatus_t run(const Stream& stream, CudaState& state, const cublasLtMatmulAlgo_t& algorithm,
                     const GemmOperands& operands, bool accumulate);

 private:
  void set_scales(const void* a, const void* b);

  GemmAlignment alignment_;
  bool wide_;  // computes in fp64
  bool bias_, fp8_;
  cublasLtMatmulDescOpaque_t operation_{};
  cublasLtMatrixLayoutOpaque_t first_{}, second_{}, result_{};
};

/// A stream's products with their algorithms: those that were chosen, else what cuBLASLt thinks best.
class GemmPlans {
 public:
  struct Plan {
    Plan(const GemmKey& key, const GemmAlignment& alignment) : problem(key, alignment), adds_bias(key.bias) {}
    GemmProblem problem;
    cublasLtMatmulAlgo_t algorithm{};
    bool adds_bias;  ///< false: it has none, or no algorithm adds it
  };

  explicit GemmPlans(cublasLtHandle_t blas) : blas_(blas) {}
  void follow(const GemmChoices& choices);
  /// Made on first use. Throws Error(ErrorCode::internal) where cuBLASLt has no algorithm.
  [[nodiscard]] Plan& plan(const GemmKey& key, const GemmOperands& operands);

 private:
  struct Hash {
    size_t operator()(const std::pair<GemmKey, GemmAlignment>& key) const {
      const auto& [a, b, c] = key.second;
      return GemmKey::Hash()(key.first) ^ (a << 10 | b << 5 | c);
    }
  };
  [[nodiscard]] std::optional<cublasLtMatmulAlgo_t> chosen(const GemmKey& key, const GemmAlignment& alignment,
                                                           GemmProblem& problem) const;
  [[nodiscard]] std::unique_ptr<Plan> make(const GemmKey& key, const GemmAlignment& alignment) const;

  cublasLtHandle_t blas_;
  std::unordered_map<GemmKey, cublasLtMatmulAlgo_t, GemmKey::Hash> choices_;
  std::unordered_map<std::pair<GemmKey, GemmAlignment>, std::unique_ptr<Plan>, Hash> plans_;
};

[[nodiscard]] GemmPlans& plans_of(const Stream& stream);

/// Throws Error(ErrorCode::internal) with the product where `status` is no success.
void check_blas(cublasStatus_t status, const GemmKey& key);

}  // namespace trident::cuda
