#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/gemm_tuning.h"

namespace trident::cpu {

/// One single-threaded product of row-major matrices: C[m, n] = alpha · op(A) · op(B) + beta · C. With beta 0, C is
/// written without being read. The form says how A and B lie in memory (kernels/gemm_tuning.h).
template <class T>
struct GemmCall {
  GemmForm form = GemmForm::nn;
  int64_t m = 0;
  int64_t n = 0;
  int64_t k = 0;
  const T* a = nullptr;
  int64_t lda = 0;
  const T* b = nullptr;
  int64_t ldb = 0;
  T* c = nullptr;
  int64_t ldc = 0;
  T alpha = T(1);
  T beta = T(0);
};

/// A matrix library of this process. Its products may run in several threads at once; each uses the calling thread
/// only, and gives the same bits every time.
class BlasLibrary {
 public:
  using CblasSgemm = void (*)(int, int, int, int, int, int, float, const float*, int, const float*, int, float, float*,
                              int);
  using CblasDgemm = void (*)(int, int, int, int, int, int, double, const double*, int, const double*, int, double,
                              double*, int);
  using DnnlSgemm = int (*)(char, char, int64_t, int64_t, int64_t, float, const float*, int64_t, const float*, int64_t,
                            float, float*, int64_t);
  using SetThreads = void (*)(int);

  std::string name;     ///< "openblas", "blis", "onednn"
  std::string version;  ///< with the kernels it chose, where it tells
  CblasSgemm cblas_sgemm = nullptr;
  CblasDgemm cblas_dgemm = nullptr;
  DnnlSgemm dnnl_sgemm = nullptr;
  SetThreads omp_set_num_threads = nullptr;  ///< for the calling thread

  void gemm(const GemmCall<float>& call) const;
  void gemm(const GemmCall<double>& call) const;
};

/// The libraries found, OpenBLAS first; it is always there and the only one for fp64. The first call loads them, which
/// touches the environment: make it (or construct a GemmState) before starting threads.
/// Throws Error(ErrorCode::config) where OpenBLAS is missing.
[[nodiscard]] const std::vector<BlasLibrary>& blas_libraries();

/// The library of that name; null if this process has none.
[[nodiscard]] const BlasLibrary* find_blas_library(std::string_view name);

}  // namespace trident::cpu
