#include "kernels/cuda/gemm.h"

#include <algorithm>
#include <bit>
#include <cstddef>

#include "core/error.h"
#include "core/log.h"
#include "kernels/cuda/algorithm_text.h"
#include "kernels/cuda/runtime.h"

namespace trident::cuda {
namespace {

constexpr uint32_t kMostAlignment = 16;

DType result_dtype(const GemmKey& key) { return key.form == GemmForm::tn ? accumulation_dtype(key.dtype) : key.dtype; }

bool is_a_transposed(const GemmKey& key) { return key.form == GemmForm::tn && !key.fp8; }
bool is_b_transposed(const GemmKey& key) { return key.form == GemmForm::nt || key.fp8; }

int64_t row_of_a(const GemmKey& key) { return is_a_transposed(key) ? key.m : key.k; }
int64_t row_of_b(const GemmKey& key) { return is_b_transposed(key) ? key.k : key.n; }

uint32_t common_alignment(const void* address, int64_t row, size_t element) {
  const uint64_t bits = reinterpret_cast<uintptr_t>(address) | static_cast<uint64_t>(row) * element;
  return uint32_t{1} << std::countr_zero(bits | kMostAlignment);
}

cudaDataType type_of(DType dtype) {
  switch (dtype) {
    case DType::fp64: return CUDA_R_64F;
    case DType::fp32: return CUDA_R_32F;
    case DType::bf16: return CUDA_R_16BF;
    case DType::int32: break;
  }
  TRIDENT_CHECK(false, "matrix product of integers");
}

// A is x or, where gradients are computed, dy.
cudaDataType type_of_a(const GemmKey& key) {
  if (!key.fp8) return type_of(key.dtype);
  return key.form == GemmForm::nt ? CUDA_R_8F_E4M3 : CUDA_R_8F_E5M2;
}
cudaDataType type_of_b(const GemmKey& key) { return key.fp8 ? CUDA_R_8F_E4M3 : type_of(key.dtype); }

template <class T>
void set(cublasLtMatmulDescOpaque_t& operation, cublasLtMatmulDescAttributes_t attribute, const T& value) {
  const cublasStatus_t status = cublasLtMatmulDescSetAttribute(&operation, attribute, &value, sizeof value);
  TRIDENT_CHECK(status == CUBLAS_STATUS_SUCCESS, "cuBLASLt refuses an attribute of a product");
}

template <class T>
void set(cublasLtMatmulPreferenceOpaque_t& preference, cublasLtMatmulPreferenceAttributes_t attribute, const T& value) {
  const cublasStatus_t status = cublasLtMatmulPreferenceSetAttribute(&preference, attribute, &value, sizeof value);
  TRIDENT_CHECK(status == CUBLAS_STATUS_SUCCESS, "cuBLASLt refuses a preference of a product");
}

void lay_out(cublasLtMatrixLayoutOpaque_t& layout, cudaDataType type, int64_t rows, int64_t columns) {
  const cublasStatus_t status =
      cublasLtMatrixLayoutInit(&layout, type, static_cast<uint64_t>(rows), static_cast<uint64_t>(columns), rows);
  TRIDENT_CHECK(status == CUBLAS_STATUS_SUCCESS, "cuBLASLt refuses a matrix");
}

/// Bits are the same every time: split sums are added in a fixed order, not in that in which they come to be; and in
/// the precision in which products accumulate.
constexpr uint32_t kReductions = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;

bool is_repeatable(const cublasLtMatmulAlgo_t& algorithm) {
  uint32_t scheme = 0;  // what has no scheme splits no sums
  size_t written = 0;
  static_cast<void>(cublasLtMatmulAlgoConfigGetAttribute(&algorithm, CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME, &scheme,
                                                         sizeof scheme, &written));
  return (scheme & ~kReductions) == 0;
}

}  // namespace

void check_blas(cublasStatus_t status, const GemmKey& key) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw Error(ErrorCode::internal, "kernels/cuda",
              "cuBLASLt, " + key.to_string() + ": " + cublasLtGetStatusString(status));
}

GemmAlignment GemmAlignment::of(const GemmKey& key, const GemmOperands& operands) {
  return {common_alignment(operands.a, row_of_a(key), key.operand_size()),
          common_alignment(operands.b, row_of_b(key), key.operand_size()),
          common_alignment(operands.c, key.n, size_of(result_dtype(key)))};
}

GemmProblem::GemmProblem(const GemmKey& key, const GemmAlignment& alignment)
    : alignment_(alignment), wide_(key.dtype == DType::fp64), bias_(key.bias), fp8_(key.fp8) {
  const cublasStatus_t status = cublasLtMatmulDescInit(&operation_, wide_ ? CUBLAS_COMPUTE_64F : CUBLAS_COMPUTE_32F,
                                                       wide_ ? CUDA_R_64F : CUDA_R_32F);
  TRIDENT_CHECK(status == CUBLAS_STATUS_SUCCESS, "cuBLASLt refuses a product");
  const bool a_transposed = is_a_transposed(key), b_transposed = is_b_transposed(key);
  set(operation_, CUBLASLT_MATMUL_DESC_TRANSA, b_transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
  set(operation_, CUBLASLT_MATMUL_DESC_TRANSB, a_transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
  // In columns: a row of ours is a column, which begins where the one before ends.
  lay_out(first_, type_of_b(key), row_of_b(key), b_transposed ? key.n : key.k);
  lay_out(second_, type_of_a(key), row_of_a(key), a_transposed ? key.k : key.m);
  lay_out(result_, type_of(result_dtype(key)), key.n, key.m);
  // Proposals depend on whether they are there and on their alignment, which is all that is read before run().
  alignas(2 * kMostAlignment) static const std::byte place[2 * kMostAlignment] = {};
  const void* const somewhere = place + kMostAlignment;
  if (fp8_) set_scales(somewhere, somewhere);
  if (!bias_) return;
  set(operation_, CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
  set(operation_, CUBLASLT_MATMUL_DESC_BIAS_POINTER, somewhere);
}

void GemmProblem::set_scales(const void* a, const void* b) {
  set(operation_, CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, b);
  set(operation_, CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, a);
}

std::vector<cublasLtMatmulAlgo_t> GemmProblem::proposals(cublasLtHandle_t blas, int most) {
  cublasLtMatmulPreferenceOpaque_t preference{};
  TRIDENT_CHECK(cublasLtMatmulPreferenceInit(&preference) == CUBLAS_STATUS_SUCCESS, "cuBLASLt has no preferences");
  set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, uint64_t{CudaState::kWorkspaceBytes});
  set(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, kReductions);
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment_.b);
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment_.a);
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment_.c);
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment_.c);
  std::vector<cublasLtMatmulHeuristicResult_t> found(static_cast<size_t>(most));
  int count = 0;
  const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(blas, &operation_, &first_, &second_, &result_, &result_,
                                                               &preference, most, found.data(), &count);
  if (status != CUBLAS_STATUS_SUCCESS) count = 0;  // not supported
  std::vector<cublasLtMatmulAlgo_t> algorithms;
  for (int i = 0; i < count; ++i) {
    const auto& [algorithm, bytes, state, waves, unused] = found[static_cast<size_t>(i)];
    if (state == CUBLAS_STATUS_SUCCESS && bytes <= CudaState::kWorkspaceBytes && is_repeatable(algorithm))
      algorithms.push_back(algorithm);
  }
  return algorithms;
}

bool GemmProblem::accepts(cublasLtHandle_t blas, const cublasLtMatmulAlgo_t& algorithm) {
  cublasLtMatmulHeuristicResult_t result{};
  return cublasLtMatmulAlgoCheck(blas, &operation_, &first_, &second_, &result_, &result_, &algorithm, &result) ==
             CUBLAS_STATUS_SUCCESS &&
         result.workspaceSize <= CudaState::kWorkspaceBytes && is_repeatable(algorithm);
}

cublasStatus_t GemmProblem::run(const Stream& stream, CudaState& state, const cublasLtMatmulAlgo_t& algorithm,
                                const GemmOperands& operands, bool accumulate) {
  constexpr double kWide[] = {0.0, 1.0};
  constexpr float kNarrow[] = {0.0f, 1.0f};
  const auto factor = [&](bool one) -> const void* {
    return wide_ ? static_cast<const void*>(kWide + one) : kNarrow + one;
  };
  if (bias_) set(operation_, CUBLASLT_MATMUL_DESC_BIAS_POINTER, operands.bias);
  if (fp8_) set_scales(operands.a_scale, operands.b_scale);
  return cublasLtMatmul(state.blas(), &operation_, factor(true), operands.b, &first_, operands.a, &second_,
                        factor(accumulate), operands.c, &result_, operands.c, &result_, &algorithm, state.workspace(),
                        CudaState::kWorkspaceBytes, queue_of(stream));
}

void GemmPlans::follow(const GemmChoices& choices) {
  plans_.clear();
  choices_.clear();
  size_t unknown = 0;
  for (const auto& [key, text] : choices.table()) {
    if (key.device != DeviceKind::cuda) continue;
    const auto words = parse_algorithm(cublasLtGetVersion(), text);
    if (words) choices_.emplace(key, std::bit_cast<cublasLtMatmulAlgo_t>(*words));
    if (!words) ++unknown;
  }
  if (unknown == 0) return;
  log::warning(
      "{} matrix products were chosen with another cuBLASLt than this one, {}, which now chooses itself, with "
      "other rounding",
      unknown, cublasLtGetVersion());
}

std::optional<cublasLtMatmulAlgo_t> GemmPlans::chosen(const GemmKey& key, const GemmAlignment& alignment,
                                                      GemmProblem& problem) const {
  const auto choice = choices_.find(key);
  // Chosen for operands at aligned addresses.
  if (choice == choices_.end() || alignment != GemmAlignment::of(key)) return std::nullopt;
  if (problem.accepts(blas_, choice->second)) return choice->second;
  log::warning(
      "the algorithm that was chosen for the matrix product {} does not run on this GPU; cuBLASLt chooses "
      "itself, with other rounding",
      key.to_string());
  return std::nullopt;
}

std::unique_ptr<GemmPlans::Plan> GemmPlans::make(const GemmKey& key, const GemmAlignment& alignment) const {
  auto plan = std::make_unique<Plan>(key, alignment);
  if (const auto algorithm = chosen(key, alignment, plan->problem)) {
    plan->algorithm = *algorithm;
    return plan;
  }
  const auto proposals = plan->problem.proposals(blas_, 1);
  if (!proposals.empty()) {
    plan->algorithm = proposals.front();
    return plan;
  }
  if (!key.bias) check_blas(CUBLAS_STATUS_NOT_SUPPORTED, key);
  GemmKey plain = key;
  plain.bias = false;
  return make(plain, alignment);
}

GemmPlans::Plan& GemmPlans::plan(const GemmKey& key, const GemmOperands& operands) {
  const std::pair which{key, GemmAlignment::of(key, operands)};
  std::unique_ptr<Plan>& plan = plans_[which];
  if (!plan) plan = make(key, which.second);
  return *plan;
}

GemmPlans& plans_of(const Stream& stream) {
  CudaState& state = state_of(stream);
  return state.keep<GemmPlans>(state.blas());
}

}  // namespace trident::cuda
