#include "kernels/cpu/blas.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <stdlib.h>  // NOLINT(modernize-deprecated-headers): setenv is POSIX

#include <climits>
#include <optional>

#include "core/error.h"
#include "core/log.h"

namespace trident::cpu {
namespace {

constexpr const char* kComponent = "kernels/cpu/blas";
constexpr int kRowMajor = 101;     // CBLAS_ORDER
constexpr int kNoTranspose = 111;  // CBLAS_TRANSPOSE
constexpr int kTranspose = 112;

/// Sets an environment variable while a library reads it.
class ScopedEnvironment {
 public:
  enum class Users { win, lose };  ///< whether a value that the user set stays

  ScopedEnvironment(const char* name, const char* value, Users users) {
    const char* const before = getenv(name);
    if (value == nullptr || (before != nullptr && users == Users::win)) return;
    if (before != nullptr) before_ = before;
    if (setenv(name, value, 1) == 0) name_ = name;
  }
  ~ScopedEnvironment() {
    if (name_ == nullptr) return;
    if (before_) {
      setenv(name_, before_->c_str(), 1);
    } else {
      unsetenv(name_);
    }
  }
  ScopedEnvironment(const ScopedEnvironment&) = delete;
  ScopedEnvironment& operator=(const ScopedEnvironment&) = delete;

 private:
  const char* name_ = nullptr;
  std::optional<std::string> before_;
};
using Users = ScopedEnvironment::Users;

bool has_avx512() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
#else
  return false;
#endif
}

template <class Function>
Function symbol(void* handle, const char* name) {
  return reinterpret_cast<Function>(dlsym(handle, name));
}

/// The first candidate that loads and that `usable` accepts. Never closed: the libraries hold thread-local memory and
/// exit handlers.
template <class Usable>
void* open_library(const std::vector<const char*>& candidates, const Usable& usable) {
  for (const char* path : candidates) {
    void* handle = *path != '\0' ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : nullptr;
    if (handle != nullptr && usable(handle)) return handle;
  }
  return nullptr;
}

bool any(void* /*handle*/) { return true; }

/// OpenBLAS built without threads hands one work buffer to two callers at once: it takes buffers without a lock, and
/// products come out wrong. Its build for POSIX threads locks; told to use one thread, it starts none.
bool has_locks(void* handle) {
  constexpr int kPosixThreads = 1;
  auto parallel = symbol<int (*)()>(handle, "openblas_get_parallel");
  return parallel != nullptr && parallel() == kPosixThreads;
}

/// "0.3.21" of "OpenBLAS 0.3.21 NO_LAPACKE DYNAMIC_ARCH …".
std::string release(std::string_view config) {
  const size_t begin = config.find_first_of("0123456789");
  return begin == std::string_view::npos ? std::string(config)
                                         : std::string(config.substr(begin, config.find(' ', begin) - begin));
}

BlasLibrary load_openblas() {
  // Releases before 0.3.22 give processors they do not know (Zen 4 and 5 among them) AVX2 kernels: half the speed.
  const ScopedEnvironment core("OPENBLAS_CORETYPE", has_avx512() ? "SkylakeX" : nullptr, Users::win);
  const ScopedEnvironment threads("OPENBLAS_NUM_THREADS", "1", Users::lose);
  void* handle = open_library({TRIDENT_OPENBLAS_PATH, "libopenblas.so.0"}, has_locks);
  BlasLibrary library;
  if (handle == nullptr) return library;
  library.cblas_sgemm = symbol<BlasLibrary::CblasSgemm>(handle, "cblas_sgemm");
  library.cblas_dgemm = symbol<BlasLibrary::CblasDgemm>(handle, "cblas_dgemm");
  if (library.cblas_sgemm == nullptr || library.cblas_dgemm == nullptr) return {};
  library.name = "openblas";
  if (auto config = symbol<const char* (*)()>(handle, "openblas_get_config")) library.version = release(config());
  if (auto kernels = symbol<const char* (*)()>(handle, "openblas_get_corename")) {
    library.version += fmt::format(" kernels {}", kernels());
  }
  if (auto set = symbol<BlasLibrary::SetThreads>(handle, "openblas_set_num_threads")) set(1);
  return library;
}

BlasLibrary load_blis() {
  void* handle = open_library({TRIDENT_BLIS_PATH, "libblis.so.4"}, any);
  BlasLibrary library;
  if (handle == nullptr) return library;
  library.cblas_sgemm = symbol<BlasLibrary::CblasSgemm>(handle, "cblas_sgemm");
  auto version = symbol<const char* (*)()>(handle, "bli_info_get_version_str");
  if (library.cblas_sgemm == nullptr || version == nullptr) return {};
  library.name = "blis";
  library.version = version();
  // Without this, 0.9 runs portable C on processors it does not know. 0 means skx in 0.9; later ones number otherwise.
  const bool force = has_avx512() && library.version.starts_with("0.9");
  if (force) library.version += " kernels skx";
  const ScopedEnvironment arch("BLIS_ARCH_TYPE", force ? "0" : nullptr, Users::win);
  const ScopedEnvironment threads("BLIS_NUM_THREADS", "1", Users::lose);
  const float one = 1.0f;
  float product = 0.0f;  // the first product reads the environment
  library.gemm(GemmCall<float>{GemmForm::nn, 1, 1, 1, &one, 1, &one, 1, &product, 1});
  return library;
}

BlasLibrary load_onednn() {
  void* handle = open_library({TRIDENT_ONEDNN_PATH, "libdnnl.so.2"}, any);
  BlasLibrary library;
  if (handle == nullptr) return library;
  library.dnnl_sgemm = symbol<BlasLibrary::DnnlSgemm>(handle, "dnnl_sgemm");
  struct Version {
    int major, minor, patch;
  };
  auto version = symbol<const Version* (*)()>(handle, "dnnl_version");
  // Its OpenMP threads must be kept off; a build with another runtime cannot be told to.
  library.omp_set_num_threads = symbol<BlasLibrary::SetThreads>(handle, "omp_set_num_threads");
  if (library.dnnl_sgemm == nullptr || version == nullptr || library.omp_set_num_threads == nullptr) return {};
  library.name = "onednn";
  library.version = fmt::format("{}.{}.{}", version()->major, version()->minor, version()->patch);
  return library;
}

std::vector<BlasLibrary> load_libraries() {
  std::vector<BlasLibrary> libraries;
  libraries.push_back(load_openblas());
  if (libraries.front().name.empty()) {
    const char* reason = dlerror();
    throw Error(ErrorCode::config, kComponent,
                fmt::format("no usable OpenBLAS at {} or libopenblas.so.0: {}", TRIDENT_OPENBLAS_PATH,
                            reason != nullptr ? reason : "not the build for POSIX threads"),
                "install libopenblas0-pthread");
  }
  for (BlasLibrary optional : {load_blis(), load_onednn()}) {
    if (!optional.name.empty()) libraries.push_back(std::move(optional));
  }
  for (const auto& library : libraries) log::debug("matrix products: {} {}", library.name, library.version);
  return libraries;
}

template <class T>
void check_sizes(const GemmCall<T>& call) {
  for (const int64_t size : {call.m, call.n, call.k, call.lda, call.ldb, call.ldc}) {
    TRIDENT_CHECK(size >= 0 && size <= INT_MAX, "matrix size " + std::to_string(size));
  }
}

template <class Function, class T>
void call_cblas(Function function, const GemmCall<T>& call) {
  check_sizes(call);
  const int a_order = call.form == GemmForm::tn ? kTranspose : kNoTranspose;
  const int b_order = call.form == GemmForm::nt ? kTranspose : kNoTranspose;
  function(kRowMajor, a_order, b_order, static_cast<int>(call.m), static_cast<int>(call.n), static_cast<int>(call.k),
           call.alpha, call.a, static_cast<int>(call.lda), call.b, static_cast<int>(call.ldb), call.beta, call.c,
           static_cast<int>(call.ldc));
}

}  // namespace

void BlasLibrary::gemm(const GemmCall<float>& call) const {
  if (call.m == 0 || call.n == 0) return;
  if (cblas_sgemm != nullptr) return call_cblas(cblas_sgemm, call);
  thread_local bool one_thread = false;
  if (!one_thread) {
    omp_set_num_threads(1);
    one_thread = true;
  }
  const int status =
      dnnl_sgemm(call.form == GemmForm::tn ? 'T' : 'N', call.form == GemmForm::nt ? 'T' : 'N', call.m, call.n, call.k,
                 call.alpha, call.a, call.lda, call.b, call.ldb, call.beta, call.c, call.ldc);
  TRIDENT_CHECK(status == 0, "dnnl_sgemm failed with status " + std::to_string(status));
}

void BlasLibrary::gemm(const GemmCall<double>& call) const {
  if (call.m == 0 || call.n == 0) return;
  TRIDENT_CHECK(cblas_dgemm != nullptr, name + " is not used for fp64");
  call_cblas(cblas_dgemm, call);
}

const std::vector<BlasLibrary>& blas_libraries() {
  static const std::vector<BlasLibrary> libraries = load_libraries();
  return libraries;
}

const BlasLibrary* find_blas_library(std::string_view name) {
  for (const auto& library : blas_libraries()) {
    if (library.name == name) return &library;
  }
  return nullptr;
}

}  // namespace trident::cpu
