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

// Which matrix library multiplies which shape, on CPUs. No library is best everywhere, so a run times them on the
// shapes of its model once and keeps the answer: the choice decides bits. docs/decisions/0002-matrix-products.md.
//
//   Stream dry = Stream::meta();                              1. forward and backward on the meta device ...
//   auto recorder = std::make_shared<GemmRecorder>();
//   dry.attach(recorder);                                        ... records which products the model needs
//   GemmChoices known = load_gemm_cache(gemm_cache_path());   2. or GemmChoices::parse(text) of a resumed run
//   GemmChoices choices = tune_gemms(recorder->products(), known);
//   store_gemm_cache(gemm_cache_path(), choices);
//   stream.attach(std::make_shared<GemmState>(choices));      3. choices.to_json() goes into the run directory

/// How the operands of C[m, n] = op(A)·op(B) lie in memory, row-major.
enum class GemmForm {
  nn,  ///< A[m, k] · B[k, n]: gradients of activations
  nt,  ///< A[m, k] · B[n, k]ᵀ: forward
  tn,  ///< A[k, m]ᵀ · B[k, n]: gradients of weights
};

[[nodiscard]] std::string_view to_string(GemmForm form);

/// One block product as a library sees it. `dtype` is the dtype of the products' operands in memory before any
/// conversion to fp32; it separates choices although bf16 is multiplied as fp32.
struct GemmKey {
  GemmForm form = GemmForm::nn;
  int64_t m = 0;
  int64_t n = 0;
  int64_t k = 0;
  DType dtype = DType::fp32;

  auto operator<=>(const GemmKey&) const = default;  // NOLINT(modernize-use-nullptr): false alarm
  /// "nt 256x768x768 fp32"
  [[nodiscard]] std::string to_string() const;
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

/// Library names by product. Products without an entry use OpenBLAS.
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

/// Attached to a meta stream: collects the products of a dry run.
class GemmRecorder final : public StreamState {
 public:
  void record(const GemmKey& key, const GemmStrides& strides = {}) { products_.emplace(key, strides); }
  [[nodiscard]] const GemmProducts& products() const { return products_; }

 private:
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
  struct Hash {
    size_t operator()(const GemmKey& key) const {
      uint64_t hash = static_cast<uint64_t>(key.form) * 4 + static_cast<uint64_t>(key.dtype);
      for (const int64_t size : {key.m, key.n, key.k}) hash = hash * 0x9e3779b97f4a7c15u + static_cast<uint64_t>(size);
      return hash ^ (hash >> 32);
    }
  };

  GemmChoices choices_;
  std::unordered_map<GemmKey, const cpu::BlasLibrary*, Hash> libraries_;
};

/// The matrix libraries of this process with their versions and kernels, the default first.
[[nodiscard]] std::vector<std::string> gemm_library_names();

/// Times the libraries on every product that `known` lacks and returns choices for all of them, and no others. OpenBLAS
/// stays unless another is clearly faster. Products are timed in order until `budget` is spent; the rest get OpenBLAS.
[[nodiscard]] GemmChoices tune_gemms(const GemmProducts& products, const GemmChoices& known,
                                     std::chrono::milliseconds budget = std::chrono::seconds(3));

/// ${XDG_CACHE_HOME:-$HOME/.cache}/trident/gemm-HASH.json, with a hash of the processor's model and the libraries'
/// versions; empty where neither variable is set.
[[nodiscard]] std::filesystem::path gemm_cache_path();

/// The machine's choices from earlier runs, so that the same job chooses the same again. A missing file is an empty
/// table; an unreadable or damaged one too, with a warning.
[[nodiscard]] GemmChoices load_gemm_cache(const std::filesystem::path& path);

/// Adds `choices` to the file; entries that are already there win, and processes may store at the same time. Where it
/// cannot, warns. Returns what the file holds now, or `choices`.
GemmChoices store_gemm_cache(const std::filesystem::path& path, const GemmChoices& choices);

}  // namespace trident
