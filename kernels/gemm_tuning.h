#pragma once

#include <chrono>
#include <compare>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/device.h"
#include "core/dtype.h"

namespace trident {

namespace cpu {
class BlasLibrary;
}

// What multiplies which shape: on CPUs one of several matrix libraries, on GPUs one of cuBLASLt's algorithms. None is
// best everywhere, so a run times them on the shapes of its model once and keeps the answer: the choice decides bits.
// docs/decisions/0002-matrix-products.md.
//
//   Stream dry = Stream::meta();                              1. forward and backward on the meta device ...
//   auto recorder = std::make_shared<GemmRecorder>(stream.device().kind);
//   dry.attach(recorder);                                        ... records which products the model needs
//   const auto cache = gemm_cache_path(stream.device());
//   GemmChoices known = load_gemm_cache(cache);               2. or GemmChoices::parse(text) of a resumed run
//   GemmChoices choices = tune_gemms(stream, recorder->products(), known);
//   store_gemm_cache(cache, choices);
//   follow_gemm_choices(stream, choices);                     3. choices.to_json() goes into the run directory

/// How the operands of C[m, n] = op(A)·op(B) lie in memory, row-major.
enum class GemmForm {
  nn,  ///< A[m, k] · B[k, n]: gradients of activations
  nt,  ///< A[m, k] · B[n, k]ᵀ: forward
  tn,  ///< A[k, m]ᵀ · B[k, n]: gradients of weights
};

[[nodiscard]] std::string_view to_string(GemmForm form);

/// One product as a library sees it: a block on CPUs, a whole product on GPUs. `dtype` is the dtype of the products'
/// operands in memory before any conversion to fp32; it separates choices although CPUs multiply bf16 as fp32. In fp8
/// it is that of the tensors they were made from: what is multiplied then are copies that lie as form nt has them,
/// whatever the form.
struct GemmKey {
  GemmForm form = GemmForm::nn;
  int64_t m = 0;
  int64_t n = 0;
  int64_t k = 0;
  DType dtype = DType::fp32;
  bool bias = false;  ///< the library adds one as well; on GPUs only
  DeviceKind device = DeviceKind::cpu;
  bool fp8 = false;  ///< operands are rounded to fp8; on GPUs only

  auto operator<=>(const GemmKey&) const = default;  // NOLINT(modernize-use-nullptr): false alarm
  /// "nt 256x768x768 fp32", "nt 8192x2304x768 bf16 bias cuda fp8"
  [[nodiscard]] std::string to_string() const;
  /// Bytes of an operand's element.
  [[nodiscard]] size_t operand_size() const { return fp8 ? 1 : size_of(dtype); }

  struct Hash {
    size_t operator()(const GemmKey& key) const {
      uint64_t hash = static_cast<uint64_t>(key.form) * 4 + static_cast<uint64_t>(key.dtype);
      for (const int64_t size : {key.m, key.n, key.k}) hash = hash * 0x9e3779b97f4a7c15u + static_cast<uint64_t>(size);
      return hash ^ (hash >> 32);
    }
  };
};

/// Elements from one row of an operand to the next, as the products that stand behind a key have it; 0: rows lie one
/// behind the other. They decide which library is fast, but are no part of the key: of products that share a key the
/// first one's count.
struct GemmStrides {
  int64_t a = 0;
  int64_t b = 0;
  int64_t c = 0;
};
using GemmProducts = std::map<GemmKey, GemmStrides>;

/// By product the name of a CPU's library, or a GPU's algorithm as text that starts with "cublaslt:". Products without
/// an entry use OpenBLAS, or what cuBLASLt thinks best.
class GemmChoices {
 public:
  /// Reads to_json()'s text. Throws Error(ErrorCode::bad_data) naming what is wrong.
  static GemmChoices parse(std::string_view json);
  [[nodiscard]] std::string to_json() const;

  /// The library's name; null without an entry.
  [[nodiscard]] const std::string* find(const GemmKey& key) const;
  void set(const GemmKey& key, std::string library) { table_[key] = std::move(library); }
  /// Adds the entries of `other` whose products have none here.
  void add_missing(const GemmChoices& other);

  [[nodiscard]] const std::map<GemmKey, std::string>& table() const { return table_; }
  bool operator==(const GemmChoices&) const = default;

 private:
  std::map<GemmKey, std::string> table_;
};

/// Attached to a meta stream: collects the products of a dry run, as kernels on the device `target` would ask for them.
class GemmRecorder final : public StreamState {
 public:
  explicit GemmRecorder(DeviceKind target = DeviceKind::cpu) : target_(target) {}
  [[nodiscard]] DeviceKind target() const { return target_; }
  void record(const GemmKey& key, const GemmStrides& strides = {}) { products_.emplace(key, strides); }
  [[nodiscard]] const GemmProducts& products() const { return products_; }

 private:
  DeviceKind target_;
  GemmProducts products_;
};

/// Attached to a CPU stream: the choices its kernels follow. Entries that name a library this machine lacks are
/// warned about, and OpenBLAS stands in. Loads the libraries: construct it before starting threads.
class GemmState final : public StreamState {
 public:
  explicit GemmState(GemmChoices choices);
  [[nodiscard]] const GemmChoices& choices() const { return choices_; }
  /// Null without an entry.
  [[nodiscard]] const cpu::BlasLibrary* library(const GemmKey& key) const {
    const auto entry = libraries_.find(key);
    return entry == libraries_.end() ? nullptr : entry->second;
  }

 private:
  GemmChoices choices_;
  std::unordered_map<GemmKey, const cpu::BlasLibrary*, GemmKey::Hash> libraries_;
};

/// Products on `stream` follow the choices from now on. On a CPU it loads the libraries (GemmState); on a GPU what
/// cannot run there is warned about, and what cuBLASLt thinks best stands in.
void follow_gemm_choices(const Stream& stream, const GemmChoices& choices);

/// The matrix libraries of this process with their versions and kernels, the default first.
[[nodiscard]] std::vector<std::string> gemm_library_names();

/// Times the libraries on every product that `known` lacks and returns choices for all of them, and no others. OpenBLAS
/// stays unless another is clearly faster. Products are timed in order until `budget` is spent; the rest get OpenBLAS.
[[nodiscard]] GemmChoices tune_gemms(const GemmProducts& products, const GemmChoices& known,
                                     std::chrono::milliseconds budget = std::chrono::seconds(3));

/// The same on the stream's device, by the calling thread. On a GPU: algorithms that cuBLASLt proposes, on random
/// operands in memory of their own that no cache holds; largest products first. Products that no time is left for get
/// cuBLASLt's first proposal.
[[nodiscard]] GemmChoices tune_gemms(const Stream& stream, const GemmProducts& products, const GemmChoices& known,
                                     std::chrono::milliseconds budget = std::chrono::seconds(3));

/// ${XDG_CACHE_HOME:-$HOME/.cache}/trident/gemm-HASH.json, with a hash of the device's model and the libraries'
/// versions; empty where neither variable is set.
[[nodiscard]] std::filesystem::path gemm_cache_path(Device device = Device::cpu());

/// The machine's choices from earlier runs, so that the same job chooses the same again. A missing file is an empty
/// table; an unreadable or damaged one too, with a warning.
[[nodiscard]] GemmChoices load_gemm_cache(const std::filesystem::path& path);

/// Adds `choices` to the file; entries that are already there win, and processes may store at the same time. Where it
/// cannot, warns. Returns what the file holds now, or `choices`.
GemmChoices store_gemm_cache(const std::filesystem::path& path, const GemmChoices& choices);

}  // namespace trident
